/** @file A file's lines with their numbers, for formats of one record a line. */
import { UnfoldError } from '../../errors.ts';
import { openText } from './bytes.ts';
import type { ReadOptions, SourceFile } from './format.ts';

const LINE_LIMIT = 2 ** 28;

/** A line without its end. */
export interface Line {
  text: string;
  /** From 1. */
  number: number;
}

/** The lines of a file; `\r\n` counts as one end. @throws UnfoldError `bad-text`, see {@link openText}. */
export async function* readLines(
  file: SourceFile,
  options: Pick<ReadOptions, 'advance' | 'signal'>,
): AsyncGenerator<Line> {
  let parts: string[] = [];
  let held = 0;
  let number = 0;
  for await (const text of openText(file, options)) {
    let from = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      parts.push(text.slice(from, end));
      yield { text: withoutReturn(parts.join('')), number: ++number };
      parts = [];
      held = 0;
      from = end + 1;
    }
    parts.push(text.slice(from));
    held += text.length - from;
    if (held > LINE_LIMIT) throw tooLong(file, number + 1);
  }
  const last = parts.join('');
  if (last !== '') yield { text: withoutReturn(last), number: ++number };
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}

function tooLong(file: SourceFile, number: number): UnfoldError {
  return new UnfoldError('bad-text', {
    where: `${file.path}:${number}`,
    expected: `lines of up to ${LINE_LIMIT} characters`,
    found: 'a longer one',
    todo: 'if the file is plain text, say so with --format text',
  });
}
