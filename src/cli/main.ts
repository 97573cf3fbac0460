/**
 * @file The command line: builds commander's program from the table of commands, chooses the backend, turns errors
 * into lessons and Ctrl-C into an orderly stop. Exit codes: 0 done, 1 the user can mend it, 2 a fault of ours,
 * 130 stopped by Ctrl-C, 143 by SIGTERM (each command says what is true of it then: `afterStop`).
 */
import { Command, Option } from 'commander';
import pc from 'picocolors';
import { pasteable } from '../invocation.ts';
import { otherNameOf } from '../other-names.ts';
import { packageVersion } from '../package-version.ts';
import { BEGINS_AGAIN, type CommandIO, type CommandSpec } from './command.ts';
import { commands } from './commands/index.ts';
import { refuseWithoutEffect } from './modes.ts';
import { refuseOwnInputs } from './places.ts';
import { report, type Stop } from './report.ts';
import { hideSecretArguments } from './secret-arguments.ts';
import { writeErr, writeJsonLine, writeOut } from './streams.ts';
import { settleBars, terminalContext } from './terminal.ts';
import { refuseEmptyValues } from './values.ts';

const BACKENDS = ['auto', 'native', 'tensorflow', 'webgpu', 'wasm', 'cpu'];

const INTRODUCTION = `Train sparse autoencoders on the activations of a hooked GPT-2: text in, features out.

The whole flow on the bundled model and novels, about two minutes:
  $ ${pasteable('unfold run pipelines/quickstart.yaml')}`;

/** Milliseconds that a stopped process may take to close what it has open. */
const LINGER = 2000;

/** Runs `unfold` with these arguments; returns the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  hideSecretArguments(argv);
  const stop = stopOnSignals();
  process.stdout.on('error', leaveWhenPipeCloses);
  process.stderr.on('error', () => {}); // Nobody reads it any more.
  // Of a stream or a library that has nobody to tell: what it left is not to be relied on.
  process.on('uncaughtException', (error) => {
    settleBars();
    process.exit(report(error, argv.includes('--json'), stop));
  });
  const code = await run(argv, stop);
  return stop.signal.aborted ? leaveSoon(code) : code;
}

async function run(argv: readonly string[], stop: Stop): Promise<number> {
  try {
    await buildProgram(stop).parseAsync(argv.length ? [...argv] : ['--help'], { from: 'user' });
    // A command that runs until it is told to stop has set its own.
    if (process.exitCode !== undefined || !stop.signal.aborted) return Number(process.exitCode ?? 0);
    writeErr('it came to its end before it could be stopped\n');
    return stop.exitCode();
  } catch (error) {
    settleBars();
    return report(error, argv.includes('--json'), stop);
  }
}

/** The program with every command; exported for tests and for generated documentation. */
export function buildProgram(stop: Stop = stopOnNothing()): Command {
  const program = configured(new Command('unfold'))
    .description(INTRODUCTION)
    .version(packageVersion(), '-V, --version')
    .showHelpAfterError('(unfold --help lists the commands)')
    .enablePositionalOptions()
    .configureHelp({ showGlobalOptions: false });
  for (const spec of commands) program.addCommand(buildCommand(spec, stop));
  return program;
}

function stopOnNothing(): Stop {
  return { signal: new AbortController().signal, exitCode: () => 0, quiet: false, afterStop: BEGINS_AGAIN };
}

/** What commander prints goes where all is printed, and what it ends with is told by {@link report}. */
function configured(command: Command): Command {
  return command.configureOutput({ writeOut, writeErr }).exitOverride();
}

function buildCommand(spec: CommandSpec, stop: Stop): Command {
  const command = configured(new Command(spec.name))
    .summary(spec.summary)
    .description(paragraphs(spec.description ?? spec.summary));
  spec.configure(command);
  refuseEmptyValues(command);
  suggestByMeaning(command);
  if (spec.usesBackend) {
    command.addOption(new Option('--backend <name>', 'where tensors live').choices(BACKENDS).default('auto'));
  }
  command.option('--json', 'one JSON object on stdout instead of text');
  command.option('--quiet', 'no progress bars and notes (warnings stay)');
  // Options behind a subcommand's name are the subcommand's.
  if (spec.subcommands) command.enablePositionalOptions();
  for (const sub of spec.subcommands ?? []) command.addCommand(buildCommand(sub, stop));
  command.addHelpText('after', `\nExamples:\n${exampleLines(spec)}`);
  return command.action(async () => runCommand(spec, command, stop));
}

/** An unknown option is answered by the name that it has here, before one that is spelled like it. */
function suggestByMeaning(command: Command): void {
  const own = command as unknown as { unknownOption(flag: string): void };
  const bySpelling = own.unknownOption.bind(command);
  own.unknownOption = (flag) => {
    const known = command.options.map(({ long }) => (long ?? '').slice(2).replaceAll('-', '_'));
    const meant = otherNameOf(flag, known);
    if (meant === undefined) return bySpelling(flag);
    const words = meant.replace(/\w+/g, (word) =>
      known.includes(word) ? `--${word.replaceAll('_', '-')}` : word,
    );
    command.error(`error: unknown option '${flag}'\n(write ${words})`, { code: 'commander.unknownOption' });
  };
}

async function runCommand(spec: CommandSpec, command: Command, stop: Stop): Promise<void> {
  const options = command.optsWithGlobals<Record<string, unknown>>();
  if (spec.modes) refuseWithoutEffect(spec.modes, command, command.args);
  if (spec.places) await refuseOwnInputs(spec.places, command);
  const { afterStop } = spec;
  stop.afterStop = typeof afterStop === 'string' ? afterStop : afterStop(options);
  const io = commandIO(Boolean(options.json), Boolean(options.quiet), stop);
  if (spec.usesBackend) {
    const { closeBackend, useBackend } = await import('../tensor/backend.ts');
    await useBackend(options.backend as 'auto', io.context);
    stop.signal.throwIfAborted();
    await spec.run(command.args, options, io).finally(closeBackend);
  } else {
    await spec.run(command.args, options, io);
  }
}

function commandIO(json: boolean, quiet: boolean, stop: Stop): CommandIO {
  return {
    context: terminalContext(stop.signal, quiet),
    json,
    leaveQuietly: () => {
      stop.quiet = true;
      return stop.signal;
    },
    print: (text) => {
      if (!json) writeOut(`${text}\n`);
    },
    emit: (value) => {
      if (json) writeJsonLine(value);
    },
  };
}

/** Lines of a paragraph run together: commander wraps them at the terminal's width. */
function paragraphs(text: string): string {
  return text.replace(/([^\n])\n(?!\n)/g, '$1 ');
}

function exampleLines(spec: CommandSpec): string {
  return spec.examples
    .map(([line, meaning]) => `  ${pc.dim(`# ${meaning}`)}\n  $ ${pasteable(line)}`)
    .join('\n');
}

/** `unfold … | head` ends quietly once head has what it wants. */
function leaveWhenPipeCloses(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
}

const stopping = (name: string) =>
  `${name}: stopping after the unit in hand; press Ctrl-C again to stop at once`;

const SIGNALS: Readonly<Record<string, number>> = { SIGINT: 2, SIGTERM: 15 };

/** First Ctrl-C asks the stage to stop in order; the second ends the process. */
function stopOnSignals(): Stop {
  const controller = new AbortController();
  const stop: Stop = { ...stopOnNothing(), signal: controller.signal };
  const onSignal = (name: NodeJS.Signals) => {
    const code = 128 + SIGNALS[name]!;
    if (controller.signal.aborted) process.exit(code);
    stop.exitCode = () => code;
    // The terminal has written ^C where the cursor was.
    const begun = settleBars();
    if (!stop.quiet) writeErr(`${begun ? '' : '\n'}${pc.yellow(stopping(name))}\n`);
    controller.abort(new Error(name));
  };
  for (const name of Object.keys(SIGNALS) as NodeJS.Signals[]) process.on(name, onSignal);
  return stop;
}

/** What has stopped is over: a socket or a thread that still waits for something does not keep the process. */
function leaveSoon(code: number): number {
  setTimeout(() => process.exit(code), LINGER).unref();
  return code;
}

if (process.argv[1]?.endsWith('main.ts')) process.exitCode = await main(process.argv.slice(2));
