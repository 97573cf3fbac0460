/**
 * @file What a command reads and what it writes, by the names of its arguments and options. An output that is an input, or
 * lies within one, is refused in one place, before the command runs or a job is queued.
 */
import type { Command } from 'commander';
import { refuseOwnInput } from '../own-input.ts';

/** Options are written as their long flags, `--model`; arguments as commander declares them, `<from>` or `[file]`. */
export interface Places {
  reads: readonly string[];
  writes: string;
}

/** s3://BUCKET/PREFIX is no path of this machine. */
const isHere = (place: string) => !/^s3:/i.test(place);

/** @throws UnfoldError `bad-setting` for an output that lies on an input, by real path */
export async function refuseOwnInputs(places: Places, command: Command): Promise<void> {
  const inputs = places.reads.flatMap((name) => valuesOf(name, command)).filter(isHere);
  for (const out of valuesOf(places.writes, command).filter(isHere))
    await refuseOwnInput(places.writes, out, inputs);
}

/** What is given for an argument or an option; nothing if it is not given. */
function valuesOf(name: string, command: Command): string[] {
  const value = name.startsWith('--') ? optionOf(name, command) : argumentOf(name, command);
  return [value].flat().filter((item) => typeof item === 'string');
}

function optionOf(long: string, command: Command): unknown {
  const option = command.options.find((known) => known.long === long);
  return option && command.opts<Record<string, unknown>>()[option.attributeName()];
}

function argumentOf(name: string, command: Command): unknown {
  const index = command.registeredArguments.findIndex((known) => name.slice(1, -1) === known.name());
  if (index < 0) return undefined;
  return command.registeredArguments[index]!.variadic ? command.args.slice(index) : command.args[index];
}
