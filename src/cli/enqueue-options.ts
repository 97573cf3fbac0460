/** @file The flags that every form of `unfold enqueue` has. */
import type { Command } from 'commander';
import type { AddOptions } from '../jobs/queue-file.ts';
import { collect, milliseconds, numberIn } from './values.ts';

/** All of them. */
export const ENQUEUE_FLAGS = ['--tag', '--priority', '--delay', '--attempts', '--queue', '--wait'] as const;

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
      numberIn({ whole: true, least: 0, most: 2 ** 21 - 1 }),
    )
    .option('--delay <time>', 'begin after 90 (seconds), 10m, 8h or 1d at the earliest', milliseconds)
    .option(
      '--attempts <n>',
      'how often a job is tried when its worker is lost (default 3)',
      numberIn({ whole: true, least: 1, most: 1000 }),
    )
    .option('--queue <url>', 'which Redis (default UNFOLD_QUEUE, else the private one)')
    .option('--wait', 'stay until it is done; exit code 1 if it fails');
}

/** What they say, for addJobs. */
export function addOptionsOf({ priority, delay, attempts }: Record<string, unknown>): AddOptions {
  return { priority, delay, attempts } as AddOptions;
}
