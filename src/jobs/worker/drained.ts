/** @file Whether there is anything left that a worker could do, now or once other work is done: for `--drain`. */
import { PREFIX } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';

/** One look at all queues, in one script, since a job moves from one to the next. ARGV: names. KEYS[1]: for the slot. */
const COUNT = `
local counts = {}
local function len(command, key)
  local found = redis.pcall(command, key)
  return type(found) == 'number' and found or 0
end
for _, base in ipairs(ARGV) do
  local ready = len('LLEN', base .. 'wait') + len('LLEN', base .. 'paused') + len('LLEN', base .. 'active')
    + len('ZCARD', base .. 'prioritized') + len('ZCARD', base .. 'delayed')
  table.insert(counts, ready)
  table.insert(counts, len('ZCARD', base .. 'waiting-children'))
end
return counts`;

/**
 * True if none of the queues `served` has a job, apart from such as wait for others that nobody can do: when nothing in
 * `all` queues moves, what waits for it will not either.
 */
export async function isDrained(
  connection: QueueConnection,
  served: readonly string[],
  all: readonly string[],
): Promise<boolean> {
  const names = [...new Set([...served, ...all])];
  const bases = names.map((name) => `${PREFIX}:${name}:`);
  const counts = (await connection.client.eval(COUNT, 1, `${PREFIX}:unfold-time`, ...bases)) as number[];
  const ready = (name: string) => counts[2 * names.indexOf(name)] ?? 0;
  const waiting = (name: string) => counts[2 * names.indexOf(name) + 1] ?? 0;
  if (served.some((name) => ready(name) > 0)) return false;
  return served.every((name) => waiting(name) === 0) || names.every((name) => ready(name) === 0);
}
