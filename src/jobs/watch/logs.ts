/** @file The lines that jobs have written to their logs, now and as they come. */
import type { QueueConnection } from '../redis/open.ts';
import { pauseAfter } from './follow.ts';
import { queueKey } from './read.ts';
import { resolve, type Target } from './resolve.ts';
import type { JobView } from './view.ts';

/** A line of a job's log. */
export interface LogLine {
  job: string;
  line: string;
}

const OVER = ['completed', 'failed', 'cancelled'];

/** The last `tail` lines of each job, or all. */
export async function readLogs(
  connection: QueueConnection,
  jobs: readonly JobView[],
  tail?: number,
): Promise<LogLine[]> {
  const lists = await Promise.all(
    jobs.map(({ queue, id }) => linesFrom(connection, queue, id, tail === undefined ? 0 : -tail)),
  );
  return jobs.flatMap(({ id }, index) =>
    (tail === 0 ? [] : lists[index]!).map((line) => ({ job: id, line })),
  );
}

/**
 * Hands over the lines of a job or a flow, the last `tail` of each job first, then new ones until all have ended.
 * @throws the signal's reason when aborted
 */
export async function followLogs(
  connection: QueueConnection,
  target: Target,
  tail: number | undefined,
  say: (line: LogLine) => void,
  signal: AbortSignal,
): Promise<void> {
  const told = new Map<string, number>();
  let current = target;
  for (;;) {
    const began = performance.now();
    // The states are older than the lines: what an ended job said is complete.
    const over = current.jobs.every(({ state }) => OVER.includes(state)) || !canMove(current);
    for (const { queue, id } of current.jobs) {
      const key = queueKey(queue, id);
      const known = told.get(key);
      const count = await connection.client.llen(`${key}:logs`).catch(() => 0);
      const from = known ?? (tail === undefined ? 0 : Math.max(0, count - tail));
      // A log that became shorter was begun anew.
      const lines = count === from ? [] : await linesFrom(connection, queue, id, count < from ? 0 : from);
      for (const line of lines) say({ job: id, line });
      told.set(key, count < from ? lines.length : from + lines.length);
    }
    if (over) return;
    await pauseAfter(performance.now() - began, signal);
    signal.throwIfAborted();
    current = await resolve(connection, (target.job ?? target.flow).id);
  }
}

/** False once nothing of it goes on by itself. */
function canMove({ flow, job }: Target): boolean {
  const moving = ['active', 'waiting', 'delayed', 'paused'];
  return moving.includes(job && !['waits', 'blocked'].includes(job.state) ? job.state : flow.state);
}

/** KEYS[1] a list, ARGV[1] from where, ARGV[2] most lines; long ones are cut. */
const READ_LINES = `
local lines = redis.pcall('LRANGE', KEYS[1], ARGV[1], -1)
if lines.err then return {} end
local out = {}
for i = math.max(1, #lines - tonumber(ARGV[2]) + 1), #lines do out[#out + 1] = string.sub(lines[i], 1, 16384) end
return out`;

/** Workers keep fewer of a job. */
const MOST_LINES = 20000;

async function linesFrom(
  connection: QueueConnection,
  queue: string,
  id: string,
  from: number,
): Promise<string[]> {
  const lines = await connection.client.eval(READ_LINES, 1, `${queueKey(queue, id)}:logs`, from, MOST_LINES);
  return lines as string[];
}
