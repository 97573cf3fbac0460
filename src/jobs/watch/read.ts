/**
 * @file Reads queues as BullMQ 6 keeps them: which job is in which set, and the hash of each job. BullMQ's own getters throw
 * at the first job whose data is not JSON, and a watcher must show exactly such jobs, so the fields are read here, by the
 * names of BullMQ's storeJob.lua and prepareJobForProcessing.lua. Nothing is written.
 */

import { KEYS, PREFIX } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';

type Client = QueueConnection['client'];

/** The sets of a queue in which a job can be. */
export type Place =
  | 'active'
  | 'wait'
  | 'paused'
  | 'prioritized'
  | 'delayed'
  | 'waiting-children'
  | 'completed'
  | 'failed';

const LISTS = ['active', 'wait', 'paused'] as const satisfies readonly Place[];
const SORTED = [
  'prioritized',
  'delayed',
  'waiting-children',
  'completed',
  'failed',
] as const satisfies readonly Place[];

/** Where a job was found. */
export interface Found {
  queue: string;
  id: string;
  place: Place;
  /** Of sorted sets: the time it ended, or BullMQ's order. */
  score: number;
  /** The queue is paused. */
  resting: boolean;
}

/** A job's hash, as text. */
export interface RawJob extends Found {
  /** Missing: the job is listed, but nothing is stored under its id. */
  fields: Partial<Record<Field, string>> | undefined;
}

const FIELDS = [
  'data',
  'opts',
  'timestamp',
  'priority',
  'parentKey',
  'progress',
  'atm',
  'ats',
  'stc',
  'pb',
  'processedOn',
  'finishedOn',
  'failedReason',
  'returnvalue',
  'defa',
] as const;
type Field = (typeof FIELDS)[number];

/** Jobs whose hashes are read in one round trip. */
const PAGE = 1000;

/** A BullMQ key of a queue or of a job in it. */
export function queueKey(queue: string, rest: string): string {
  return `${PREFIX}:${queue}:${rest}`;
}

/** Queue and id in a job's key; undefined if it is none of ours. */
export function parseJobKey(key: string): { queue: string; id: string } | undefined {
  const match = /^([^:]+):(.+)$/s.exec(key.startsWith(`${PREFIX}:`) ? key.slice(PREFIX.length + 1) : '');
  return match ? { queue: match[1]!, id: match[2]! } : undefined;
}

/** Names of all queues that ever had a job. */
export async function queueNames(client: Client): Promise<string[]> {
  return (await client.smembers(KEYS.queues)).sort();
}

/**
 * Reads whole sets: KEYS as in {@link findJobs}, ARGV[1] of them for each queue, the first ARGV[2] of those after the meta
 * hash lists. A script rather than a transaction, because a Redis whose memory is full refuses every MULTI.
 */
const READ_SETS = `
local width, lists, replies = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for i, key in ipairs(KEYS) do
  local at = (i - 1) % width
  local reply
  if at == 0 then reply = redis.pcall('HEXISTS', key, 'paused')
  elseif at <= lists then reply = redis.pcall('LRANGE', key, 0, -1)
  else reply = redis.pcall('ZRANGE', key, 0, -1, 'WITHSCORES') end
  if type(reply) == 'table' and reply.err then reply = {} end
  replies[i] = reply
end
return replies`;

/** All jobs of these queues, at one moment, so that none is missed while it moves. */
export async function findJobs(client: Client, queues: readonly string[]): Promise<Found[]> {
  if (queues.length === 0) return [];
  const places = ['meta', ...LISTS, ...SORTED];
  const keys = queues.flatMap((queue) => places.map((place) => queueKey(queue, place)));
  const width = places.length;
  const replies = (await client.eval(READ_SETS, keys.length, ...keys, width, LISTS.length)) as unknown[];
  return queues.flatMap((queue, index) => foundIn(queue, replies.slice(index * width, (index + 1) * width)));
}

function foundIn(queue: string, [paused, ...sets]: unknown[]): Found[] {
  const resting = paused === 1;
  const lists = LISTS.flatMap((place, index) =>
    texts(sets[index]).map((id) => ({ queue, id, place, score: 0, resting })),
  );
  const sorted = SORTED.flatMap((place, index) =>
    pairs(sets[LISTS.length + index]).map(([id, score]) => ({ queue, id, place, score, resting })),
  );
  return [...lists, ...sorted];
}

/** The jobs' hashes; a job that was removed since it was found is left out. */
export async function readJobs(client: Client, found: readonly Found[]): Promise<RawJob[]> {
  const pages = Array.from({ length: Math.ceil(found.length / PAGE) }, (_, page) =>
    found.slice(page * PAGE, (page + 1) * PAGE),
  );
  const jobs: RawJob[] = [];
  for (const page of pages) jobs.push(...(await readPage(client, page)));
  const empty = jobs.filter(({ fields }) => !fields);
  if (empty.length === 0) return jobs;
  const still = await findJobs(client, [...new Set(empty.map(({ queue }) => queue))]);
  const there = new Set(still.map(({ queue, id }) => queueKey(queue, id)));
  return jobs.filter((job) => job.fields || there.has(queueKey(job.queue, job.id)));
}

async function readPage(client: Client, page: readonly Found[]): Promise<RawJob[]> {
  const pipeline = client.pipeline();
  for (const { queue, id } of page) pipeline.hmget(queueKey(queue, id), ...FIELDS);
  const replies = (await pipeline.exec()) ?? [];
  return page.map((found, index) => {
    const [error, values] = replies[index] ?? [];
    return { ...found, fields: error ? undefined : fieldsOf(values) };
  });
}

function fieldsOf(values: unknown): RawJob['fields'] {
  const known = FIELDS.map((field, index) => [field, (values as (string | null)[])[index]] as const).filter(
    ([, value]) => value !== null,
  );
  return known.length === 0 ? undefined : Object.fromEntries(known);
}

function texts(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map(String) : [];
}

/** `[member, score, …]` as RESP2 has it. */
function pairs(reply: unknown): [string, number][] {
  const flat = texts(Array.isArray(reply) ? reply.flat() : reply);
  return Array.from({ length: flat.length / 2 }, (_, index) => [
    flat[2 * index]!,
    Number(flat[2 * index + 1]),
  ]);
}

/** The value of a JSON text, undefined if it is none. */
export function jsonOf(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
