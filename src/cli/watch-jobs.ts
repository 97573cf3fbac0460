/** @file The table of jobs on a terminal, redrawn until all is done or Ctrl-C; once where nobody watches. */
import pc from 'picocolors';
import type { WorkerRecord } from '../jobs/names.ts';
import type { QueueConnection } from '../jobs/redis/open.ts';
import { pauseAfter } from '../jobs/watch/follow.ts';
import { renderFlows } from '../jobs/watch/render.ts';
import { snapshot } from '../jobs/watch/snapshot.ts';
import { ended, type FlowView, type SnapshotFilter } from '../jobs/watch/view.ts';
import { workers } from '../jobs/watch/workers.ts';
import type { CommandIO } from './command.ts';
import { liveOut } from './streams.ts';
import { duration } from './terminal.ts';

export interface WatchOptions {
  once?: boolean | undefined;
  parts?: boolean | undefined;
  /** Leave when all flows have ended. */
  untilDone?: boolean | undefined;
}

/** What was seen last. */
export interface Seen {
  flows: FlowView[];
  workers: WorkerRecord[];
  /** Somebody pressed Ctrl-C. */
  left?: true;
}

/** Seconds after which a Redis that does not answer is mentioned. */
const PATIENCE = 3;

/** Shows the table; returns what was seen last. */
export async function watchJobs(
  connection: QueueConnection,
  filter: SnapshotFilter,
  options: WatchOptions,
  io: CommandIO,
): Promise<Seen> {
  const live = Boolean(process.stdout.isTTY) && !io.json && !options.once;
  if (live) return watchLive(connection, filter, options, io);
  let seen = await look(connection, filter);
  while (options.untilDone && !seen.flows.every(ended)) {
    await pauseAfter(0, io.context.signal);
    io.context.signal.throwIfAborted();
    seen = await look(connection, filter);
  }
  const width = process.stdout.isTTY ? process.stdout.columns : undefined;
  io.print(
    renderFlows(seen.flows, seen.workers, { now: seen.now, ...wanted(options), ...(width && { width }) }),
  );
  return { flows: seen.flows, workers: seen.workers };
}

async function watchLive(
  connection: QueueConnection,
  filter: SnapshotFilter,
  options: WatchOptions,
  io: CommandIO,
): Promise<Seen> {
  // Ctrl-C is how one leaves a live table: no stage is to be stopped in order, and nothing is said about it.
  const left = io.leaveQuietly();
  const gone = aborted(left);
  const { draw, done } = await liveOut();
  let seen: Seen = { flows: [], workers: [] };
  let table = '';
  try {
    while (!left.aborted) {
      const began = performance.now();
      const complain = setInterval(() => {
        const seconds = (performance.now() - began) / 1000;
        if (seconds > PATIENCE)
          draw(`${table}\n${pc.yellow(`no answer from ${connection.url} for ${duration(seconds)}`)}`);
      }, 1000);
      const found = await Promise.race([look(connection, filter), gone]).finally(() =>
        clearInterval(complain),
      );
      if (!found) break;
      seen = { flows: found.flows, workers: found.workers };
      const [width, height] = [process.stdout.columns || 80, process.stdout.rows || 24];
      table = renderFlows(found.flows, found.workers, { now: found.now, width, height, ...wanted(options) });
      draw(table);
      if (options.untilDone && found.flows.every(ended)) break;
      await pauseAfter(performance.now() - began, left);
    }
  } finally {
    done();
  }
  return left.aborted ? { ...seen, left: true } : seen;
}

async function look(connection: QueueConnection, filter: SnapshotFilter): Promise<Seen & { now: number }> {
  const [flows, alive, now] = await Promise.all([
    snapshot(connection, filter),
    workers(connection),
    connection.time(),
  ]);
  return { flows, workers: alive, now };
}

function wanted({ parts }: WatchOptions): { parts?: boolean } {
  return parts ? { parts } : {};
}

function aborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return Promise.resolve(undefined);
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined), { once: true }));
}
