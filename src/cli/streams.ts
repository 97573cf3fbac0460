/**
 * @file The one place that writes to stdout and stderr. What is written holds text of files, hosts, tags and messages, so
 * everything but the few sequences that are our own goes through printable.ts on its way out; no other file of `src` writes.
 */
import { once } from 'node:events';
import pc from 'picocolors';
import { cleanLines, jsonText, printable } from '../printable.ts';
import { withoutSecretArguments } from './secret-arguments.ts';

/** stdout: text of our own with text of others in it. */
export function writeOut(text: string): boolean {
  return process.stdout.write(cleanLines(text, pc.isColorSupported));
}

/** The same for much text: waits where the reader is slow. */
export async function writeAllOut(text: string): Promise<void> {
  if (!writeOut(text)) await once(process.stdout, 'drain');
}

/** stdout: text that is another's from beginning to end, colours included. */
export function writeForeign(text: string): void {
  process.stdout.write(cleanLines(text, false));
}

/** One JSON value in a line of stdout. */
export function writeJsonLine(value: unknown): void {
  process.stdout.write(`${jsonText(value)}\n`);
}

/** stderr: messages, notes, progress; of URLs and of the command line no passwords. */
export function writeErr(text: string): void {
  process.stderr.write(cleanLines(withoutSecretArguments(text), pc.isColorSupported));
}

/**
 * Draws the line that the cursor is in, from its beginning; what is longer than the terminal is wide is cut by the terminal.
 * The cursor is neither hidden nor moved to another line: however the process ends, the terminal is as it was.
 */
export function drawErrLine(text: string): void {
  const line = cleanLines(text, pc.isColorSupported).replaceAll('\n', printable('\n'));
  process.stderr.write(`\r\x1b[?7l${line}\x1b[K\x1b[?7h\r`);
}

/** Empties the line that the cursor is in. */
export function eraseErrLine(): void {
  process.stderr.write('\r\x1b[K');
}

/** A text on stdout that each new one takes the place of. */
export interface LiveText {
  draw(text: string): void;
  /** Leaves the last one. */
  done(): void;
}

export async function liveOut(): Promise<LiveText> {
  const { createLogUpdate } = await import('log-update');
  const update = createLogUpdate(process.stdout);
  return {
    draw: (text) => update(cleanLines(text, pc.isColorSupported)),
    done: () => update.done(),
  };
}
