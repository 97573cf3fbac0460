/** @file Whether there is anything left that a worker could do, now or once other work is done: for `--drain`. */
import { PREFIX } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';

/**
 * One look at all queues, in one script, since a job moves from one to the next. ARGV: names. KEYS[1]: for the slot. Five
 * numbers for each queue, see {@link Counts}.
 */
const COUNT = `
local counts = {}
local function len(command, key)
  local found = redis.pcall(command, key)
  return type(found) == 'number' and found or 0
end
for _, base in ipairs(ARGV) do
  local waiting = len('LLEN', base .. 'wait') + len('LLEN', base .. 'paused') + len('ZCARD', base .. 'prioritized')
  table.insert(counts, waiting)
  table.insert(counts, len('ZCARD', base .. 'delayed'))
  table.insert(counts, len('LLEN', base .. 'active'))
  table.insert(counts, len('ZCARD', base .. 'waiting-children'))
  local paused = redis.pcall('HEXISTS', base .. 'meta', 'paused')
  table.insert(counts, paused == 1 and 1 or 0)
end
return counts`;

/** Jobs of a queue. */
interface Counts {
  name: string;
  waiting: number;
  delayed: number;
  active: number;
  /** Wait for others, which may have failed. */
  above: number;
  paused: boolean;
}

/** What is left for a worker. */
export interface Left {
  /** True if it may leave. */
  drained: boolean;
  /** What keeps it, or what it leaves behind, for a person; empty where that is nothing. */
  why: string;
}

/**
 * A worker may leave if none of the queues `served` has a job, apart from such as wait for others that nobody can do: when
 * nothing in `all` queues moves, what waits for it will not either.
 */
export async function leftFor(
  connection: QueueConnection,
  served: readonly string[],
  all: readonly string[],
): Promise<Left> {
  const counts = await countJobs(connection, [...new Set([...served, ...all])]);
  const own = counts.filter(({ name }) => served.includes(name));
  const [resting] = own.filter(({ paused, waiting }) => paused && waiting > 0);
  if (resting) return { drained: false, why: paused(resting) };
  const delayed = sum(own, 'delayed');
  const active = sum(own, 'active');
  if (own.some(isReady)) {
    const parts = [delayed > 0 && `${delayed} delayed`, active > 0 && `${active} that other workers have`];
    const what = parts.filter(Boolean).join(', ');
    return { drained: false, why: what && `waits for jobs: ${what}` };
  }
  const above = sum(own, 'above');
  const others = counts.filter(isReady).map(({ name }) => name);
  if (above > 0 && others.length > 0)
    return {
      drained: false,
      why: `waits, as ${above} job(s) do, for what it does not serve: ${others.join(', ')}`,
    };
  const stuck = `leaves ${above} job(s) that wait for failed or cancelled ones: unfold jobs shows which, unfold jobs retry takes them up again`;
  return { drained: true, why: above > 0 ? stuck : '' };
}

async function countJobs(connection: QueueConnection, names: readonly string[]): Promise<Counts[]> {
  const bases = names.map((name) => `${PREFIX}:${name}:`);
  const found = (await connection.client.eval(COUNT, 1, `${PREFIX}:unfold-time`, ...bases)) as number[];
  return names.map((name, i) => {
    const [waiting = 0, delayed = 0, active = 0, above = 0, rests = 0] = found.slice(5 * i, 5 * i + 5);
    return { name, waiting, delayed, active, above, paused: rests === 1 };
  });
}

function isReady({ waiting, delayed, active }: Counts): boolean {
  return waiting + delayed + active > 0;
}

function sum(counts: readonly Counts[], field: 'delayed' | 'active' | 'above'): number {
  return counts.reduce((total, { [field]: count }) => total + count, 0);
}

function paused({ name, waiting }: Counts): string {
  return `waits: queue ${name} is paused, with ${waiting} job(s); unfold jobs resume ${name} lets it go on`;
}
