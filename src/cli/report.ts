/**
 * @file How a command that did not come to its end is told: a lesson, a stop, a usage error, or a fault of ours; with --json
 * the same as one object on stdout. Exit codes are in main.ts.
 */
import { CommanderError } from 'commander';
import pc from 'picocolors';
import { UnfoldError } from '../errors.ts';
import { explain } from '../explain.ts';
import { withoutSecretArguments } from './secret-arguments.ts';
import { writeErr, writeJsonLine } from './streams.ts';

/** What Ctrl-C or a supervisor asked for. */
export interface Stop {
  signal: AbortSignal;
  /** Of the process; 0 as long as nobody asked. */
  exitCode(): number;
  /** Nothing is said about it. */
  quiet: boolean;
  /** What is true of the command that was stopped; set when one begins. */
  afterStop: string;
}

/** Prints what became of the command; returns the exit code. */
export function report(thrown: unknown, json: boolean, stop: Stop): number {
  const error = thrown instanceof CommanderError ? thrown : explain(thrown);
  if (error instanceof CommanderError) {
    if (json && error.exitCode !== 0) writeJsonLine({ error: usageOf(error) });
    return error.exitCode;
  }
  if (stop.signal.aborted && !(error instanceof UnfoldError && error.kind !== 'stopped')) {
    if (json) writeJsonLine({ error: stoppedOf(stop) });
    writeErr(`stopped; ${stop.afterStop}\n`);
    return stop.exitCode();
  }
  if (error instanceof UnfoldError) return reportLesson(error, json);
  const text = withoutSecretArguments(
    error instanceof Error ? (error.stack ?? error.message) : String(error),
  );
  if (json) writeJsonLine({ error: { kind: 'internal', found: text } });
  writeErr(`${pc.red('internal error')} (this is our fault; please report it)\n${text}\n`);
  return 2;
}

/** What the user can mend. */
export function reportLesson(error: UnfoldError, json: boolean): number {
  if (json) writeJsonLine({ error: { kind: error.kind, ...error.lesson, cause: undefined } });
  writeErr(`${pc.red('error')} ${error.message}\n`);
  return 1;
}

/** What commander has told on stderr, as the other errors are told. */
function usageOf({ message }: CommanderError) {
  return {
    kind: 'bad-usage',
    where: 'the command line',
    expected: 'arguments and options as --help lists them',
    found: withoutSecretArguments(message.replace(/^error: /, '')),
    todo: 'correct the command line',
  };
}

function stoppedOf({ signal, afterStop }: Stop) {
  const found = String((signal.reason as Error | undefined)?.message ?? 'a signal');
  return { kind: 'stopped', where: 'the command', expected: 'to run to its end', found, todo: afterStop };
}
