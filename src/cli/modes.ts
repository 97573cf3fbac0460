/**
 * @file What a command does depends on what is given: rows from shards or from a model, a table or JSON. Each of these modes
 * says which options it takes, and whatever would have no effect is refused by name, in one place, before the command runs.
 */
import type { Command, Option } from 'commander';
import { UnfoldError } from '../errors.ts';

/** The modes of a command. Options are written as their long flags: `--max-tokens`, `--no-prepend-bos`. */
export interface Modes {
  /** The mode of these options; undefined where they do not say, which the command itself refuses. */
  of(options: Readonly<Record<string, unknown>>, args: readonly string[]): string | undefined;
  /** Options that have an effect in each mode; a mode is called by how it is asked for, as `--shards`. */
  takes: Readonly<Record<string, readonly string[]>>;
  /** Options that have an effect in all of them. */
  always: readonly string[];
}

/** Options that every command has. */
const EVERYWHERE = ['--json', '--quiet', '--backend', '--help'];

/**
 * Refuses what was given and has no effect.
 * @throws UnfoldError `bad-setting` that names the option and where it belongs
 */
export function refuseWithoutEffect(
  { of, takes, always }: Modes,
  command: Command,
  args: readonly string[],
): void {
  const options = command.optsWithGlobals<Record<string, unknown>>();
  const mode = of(options, args);
  if (mode === undefined) return;
  const taken = [...EVERYWHERE, ...always, ...(takes[mode] ?? [])];
  const idle = givenOptions(command, options).find(({ long }) => !taken.includes(long!));
  if (!idle) return;
  const homes = Object.keys(takes).filter((name) => takes[name]!.includes(idle.long!));
  throw new UnfoldError('bad-setting', {
    where: `${pathOf(command)} with ${mode}`,
    expected: 'options that have an effect there',
    found: `${idle.long}, which ${homes.length ? `belongs to ${homes.join(' and ')}` : 'has none'}`,
    todo: `leave ${idle.long} out`,
  });
}

/** Options on the command line; of a pair such as --x and --no-x the one that was written. */
function givenOptions(command: Command, options: Readonly<Record<string, unknown>>): Option[] {
  return command.options.filter((option) => {
    const name = option.attributeName();
    if (command.getOptionValueSource(name) !== 'cli') return false;
    return option.negate === (options[name] === false) || !hasTwin(option, command);
  });
}

const hasTwin = (option: Option, command: Command) =>
  command.options.some((other) => other !== option && other.attributeName() === option.attributeName());

/** `unfold enqueue train`. */
function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}
