/**
 * @file One error class for everything a user can cause or mend. A message is a small lesson in four parts: where,
 * what was expected, what was found, what to do next. Anything else that is thrown is a fault of ours and is printed
 * with its stack and the prefix "internal:".
 */
import { shownText } from './shown-url.ts';

/** The four parts of a message; `todo` is a sentence or a command that can be pasted. */
export interface Lesson {
  /** File, tensor, setting or step that is wrong: `checkpoints/x/model.safetensors: tensor wte.weight`. */
  where: string;
  expected: string;
  found: string;
  todo: string;
  cause?: unknown;
}

/** Something the user can mend. `kind` is stable and machine-readable (`bad-model`, `bad-text`, `disk-full`, …). */
export class UnfoldError extends Error {
  override readonly name = 'UnfoldError';
  readonly kind: string;
  readonly lesson: Lesson;

  /** Whoever wrote the lesson: credentials are taken out of the URLs in it. */
  constructor(kind: string, { cause, ...said }: Lesson) {
    const parts = [said.where, said.expected, said.found, said.todo];
    const [where, expected, found, todo] = parts.map((text) => shownText(bounded(text)));
    const lesson = { where, expected, found, todo, ...(cause === undefined ? {} : { cause }) } as Lesson;
    const [first, ...rest] = [where, expected, found, todo].map((text) => indented(text!));
    super(`${first}\n  expected  ${rest[0]}\n  found     ${rest[1]}\n  to mend   ${rest[2]}`, { cause });
    this.kind = kind;
    this.lesson = lesson;
  }
}

/** Longer than any path, and than a list of names that somebody reads to its end. */
const MOST_CHARACTERS = 10_000;

/** What was found may be a name of a megabyte, which goes to a terminal, a log, or into the queue. */
function bounded(part: string): string {
  const text = String(part);
  const more = text.length - MOST_CHARACTERS;
  return more <= 0 ? text : `${text.slice(0, MOST_CHARACTERS)} … and ${more} characters more`;
}

/** Lines of a part begin below its first: a name with a line end in it cannot pass for the next part. */
function indented(text: string): string {
  return String(text).replaceAll('\n', `\n${' '.repeat(12)}`);
}

/** Broken invariant of ours: the user is told that it is not their doing. */
export function internal(message: string): never {
  throw new Error(`internal: ${message}`);
}

/** The names nearest to `name` by edit distance, best first: for "did you mean". */
export function nearest(name: string, known: Iterable<string>, count = 3): string[] {
  return [...known]
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

/** Levenshtein distance with one row of memory. */
function editDistance(a: string, b: string): number {
  const row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    let diagonal = row[0]!;
    row[0] = i;
    for (let j = 1; j <= b.length; j++) {
      const substituted = diagonal + (a[i - 1] === b[j - 1] ? 0 : 1);
      diagonal = row[j]!;
      row[j] = Math.min(substituted, row[j]! + 1, row[j - 1]! + 1);
    }
  }
  return row[b.length]!;
}
