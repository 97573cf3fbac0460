/**
 * @file The command line: builds commander's program from the table of commands, chooses the backend, turns errors
 * into lessons and Ctrl-C into an orderly stop. Exit codes: 0 done, 1 the user can mend it, 2 a fault of ours,
 * 130 stopped by Ctrl-C (run the same command again to go on).
 */
import { Command, CommanderError, Option } from 'commander';
import pc from 'picocolors';
import { UnfoldError } from '../errors.ts';
import { pasteable } from '../invocation.ts';
import { packageVersion } from '../package-version.ts';
import type { CommandIO, CommandSpec } from './command.ts';
import { commands } from './commands/index.ts';
import { refuseWithoutEffect } from './modes.ts';
import { hideSecretArguments, withoutSecretArguments } from './secret-arguments.ts';
import { terminalContext } from './terminal.ts';
import { refuseEmptyValues } from './values.ts';

const BACKENDS = ['auto', 'native', 'tensorflow', 'webgpu', 'wasm', 'cpu'];

/** What commander says of wrong arguments. */
const OUTPUT = { writeErr: (text: string) => void process.stderr.write(withoutSecretArguments(text)) };

const INTRODUCTION = `Train sparse autoencoders on the activations of a hooked GPT-2: text in, features out.

The whole flow on the bundled model and novels, about two minutes:
  $ ${pasteable('unfold run pipelines/quickstart.yaml')}`;

/** Runs `unfold` with these arguments; returns the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  hideSecretArguments(argv);
  const stop = stopOnInterrupt();
  process.stdout.on('error', leaveWhenPipeCloses);
  try {
    await buildProgram(stop).parseAsync(argv.length ? [...argv] : ['--help'], { from: 'user' });
    // A command that runs until it is told to stop has set its own.
    return Number(process.exitCode ?? (stop.aborted ? 130 : 0));
  } catch (error) {
    return report(error, argv.includes('--json'), stop);
  }
}

/** The program with every command; exported for tests and for generated documentation. */
export function buildProgram(signal: AbortSignal = new AbortController().signal): Command {
  const program = new Command('unfold')
    .description(INTRODUCTION)
    .version(packageVersion(), '-V, --version')
    .showHelpAfterError('(unfold --help lists the commands)')
    .exitOverride()
    .configureOutput(OUTPUT)
    .enablePositionalOptions()
    .configureHelp({ showGlobalOptions: false });
  for (const spec of commands) program.addCommand(buildCommand(spec, signal));
  return program;
}

function buildCommand(spec: CommandSpec, signal: AbortSignal): Command {
  const command = new Command(spec.name)
    .configureOutput(OUTPUT)
    .summary(spec.summary)
    .description(paragraphs(spec.description ?? spec.summary));
  spec.configure(command);
  refuseEmptyValues(command);
  if (spec.usesBackend) {
    command.addOption(new Option('--backend <name>', 'where tensors live').choices(BACKENDS).default('auto'));
  }
  command.option('--json', 'one JSON object on stdout instead of text');
  command.option('--quiet', 'no progress bars and notes (warnings stay)');
  // Options behind a subcommand's name are the subcommand's.
  if (spec.subcommands) command.enablePositionalOptions();
  for (const sub of spec.subcommands ?? []) command.addCommand(buildCommand(sub, signal));
  command.addHelpText('after', `\nExamples:\n${exampleLines(spec)}`);
  command.exitOverride();
  return command.action(async () => runCommand(spec, command, signal));
}

async function runCommand(spec: CommandSpec, command: Command, signal: AbortSignal): Promise<void> {
  const options = command.optsWithGlobals<Record<string, unknown>>();
  if (spec.modes) refuseWithoutEffect(spec.modes, command, command.args);
  const io = commandIO(Boolean(options.json), Boolean(options.quiet), signal);
  if (spec.usesBackend) {
    const { closeBackend, useBackend } = await import('../tensor/backend.ts');
    await useBackend(options.backend as 'auto', io.context);
    await spec.run(command.args, options, io).finally(closeBackend);
  } else {
    await spec.run(command.args, options, io);
  }
}

function commandIO(json: boolean, quiet: boolean, signal: AbortSignal): CommandIO {
  return {
    context: terminalContext(signal, quiet),
    json,
    print: (text) => {
      if (!json) process.stdout.write(`${text}\n`);
    },
    emit: (value) => {
      if (json) process.stdout.write(`${JSON.stringify(value)}\n`);
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

/** First Ctrl-C asks the stage to stop in order; the second ends the process. */
function stopOnInterrupt(): AbortSignal {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(130);
    process.stderr.write(
      pc.yellow(`\n${name}: stopping after the unit in hand; press Ctrl-C again to stop at once\n`),
    );
    controller.abort(new Error(name));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return controller.signal;
}

function report(error: unknown, json: boolean, stop: AbortSignal): number {
  if (error instanceof CommanderError) {
    if (json && error.exitCode !== 0) process.stdout.write(`${JSON.stringify({ error: usageOf(error) })}\n`);
    return error.exitCode;
  }
  if (stop.aborted && !(error instanceof UnfoldError && error.kind !== 'stopped')) {
    process.stderr.write(`stopped; the same command goes on where it was\n`);
    return 130;
  }
  if (error instanceof UnfoldError) {
    if (json)
      process.stdout.write(
        `${JSON.stringify({ error: { kind: error.kind, ...error.lesson, cause: undefined } })}\n`,
      );
    process.stderr.write(`${pc.red('error')} ${error.message}\n`);
    return 1;
  }
  const text = withoutSecretArguments(
    error instanceof Error ? (error.stack ?? error.message) : String(error),
  );
  if (json) process.stdout.write(`${JSON.stringify({ error: { kind: 'internal', found: text } })}\n`);
  process.stderr.write(`${pc.red('internal error')} (this is our fault; please report it)\n${text}\n`);
  return 2;
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

if (process.argv[1]?.endsWith('main.ts')) process.exitCode = await main(process.argv.slice(2));
