/** @file The flags that every form of `unfold enqueue` has. */
import { type Command, InvalidArgumentError } from 'commander';
import type { AddOptions } from '../jobs/queue-file.ts';

/** Declares them. */
export function enqueueOptions(command: Command): void {
  command
    .option(
      '--tag <tag>',
      'only workers with this tag: gpu, or train=gpu for one stage (repeatable)',
      collect,
    )
    .option(
      '--priority <n>',
      'from 1 (first) to 2097151; 0, the default, goes before all of them',
      whole(0, 2 ** 21 - 1),
    )
    .option('--delay <time>', 'begin after 90 (seconds), 10m, 8h or 1d at the earliest', delay)
    .option('--attempts <n>', 'how often a job is tried when its worker is lost (default 3)', whole(1, 1000))
    .option('--queue <url>', 'which Redis (default UNFOLD_QUEUE, else the private one)')
    .option('--wait', 'stay until it is done; exit code 1 if it fails');
}

/** What they say, for addJobs. */
export function addOptionsOf({ priority, delay, attempts }: Record<string, unknown>): AddOptions {
  return { priority, delay, attempts } as AddOptions;
}

/** For repeatable options. They have no default: one of a command would win over what is given to a command below it. */
export function collect(value: string, earlier: string[] = []): string[] {
  return [...earlier, value];
}

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isInteger(value) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`a whole number from ${least} to ${most} is expected`);
  };
}

const UNITS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 };

/** Milliseconds. */
function delay(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)([smhd]?)$/.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError('a time such as 90, 10m, 8h or 1d is expected');
  return Math.round(1000 * Number(number) * UNITS[unit]!);
}
