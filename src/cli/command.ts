/**
 * @file What a command is: a name, words that teach, options, and a function that is imported only when it runs, so
 * that `--help` is instant. A command parses, calls one function of the library and prints one summary.
 */
import type { Command } from 'commander';
import type { StageContext } from '../context.ts';
import type { JobRequest } from '../jobs/kinds/kind.ts';
import type { Modes } from './modes.ts';
import type { Places } from './places.ts';

/** Handed to every command's action. */
export interface CommandIO {
  /** Progress and warnings on stderr; aborted by Ctrl-C. */
  context: StageContext;
  /** True with --json: stdout carries machine-readable output only. */
  json: boolean;
  /** The signal, of a command that Ctrl-C is the way to leave: nothing is said of it. Its exit code is the command's to set. */
  leaveQuietly(): AbortSignal;
  /** Human output on stdout; silent under --json. */
  print(text: string): void;
  /** One JSON value on stdout (only under --json). */
  emit(value: unknown): void;
}

/** {@link CommandSpec.afterStop} of commands that keep what they have done. */
export const GOES_ON = 'the same command goes on where it was';

/** … and of those that have nothing to keep before they end. */
export const BEGINS_AGAIN = 'the same command begins again from the start';

/** … of those that make a folder whole or not at all. */
export const WHOLE_OR_NOT =
  'the folder appears whole or not at all; the same command makes it, or finds it finished';

/** … and of those that hand their work to others. */
export const STAYS_QUEUED = 'what was queued stays so, and the same command queues nothing twice';

/** A command of `unfold`. Its file in `commands/` is named after it. */
export interface CommandSpec {
  name: string;
  /** One line for the table in `unfold --help`. */
  summary: string;
  /** A paragraph or two for `unfold NAME --help`. */
  description?: string;
  /** Pasteable examples, each with what it does. */
  examples: readonly (readonly [command: string, meaning: string])[];
  /** Declares arguments and options on the commander command (not the action; `--json` and `--backend` are added). */
  configure(command: Command): void;
  /** Commands below it, `unfold NAME SUB …`; what none of them is called goes to `run`. */
  subcommands?: readonly CommandSpec[];
  /** Where not every option has an effect beside every other. */
  modes?: Modes;
  /** What it reads and what it writes, which may not lie on it: of every command that names both. */
  places?: Places;
  /**
   * What is true after Ctrl-C, at whatever moment: "stopped; …". Some commands keep what they have done, others begin again,
   * and it may depend on the options.
   */
  afterStop: string | ((options: Record<string, unknown>) => string);
  /** True if the command computes: `--backend` is added and the backend is chosen before `run`. */
  usesBackend?: boolean;
  /** `args` are the positional arguments, `options` commander's parsed options. Import heavy modules inside. */
  run(args: string[], options: Record<string, unknown>, io: CommandIO): Promise<void>;
  /**
   * The job that does what `run` would do with the same arguments, for `unfold enqueue NAME …`. Commands that leave no
   * files have none.
   * @throws UnfoldError for settings that are wrong, as far as that is seen without doing the work
   */
  job?(args: string[], options: Record<string, unknown>): Promise<JobRequest>;
}
