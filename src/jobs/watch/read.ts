/**
 * @file Reads queues as BullMQ 6 keeps them: which job is in which set, and the hash of each job. BullMQ's own getters throw
 * at the first job whose data is not JSON, and a watcher must show exactly such jobs, so the fields are read here, by the
 * names of BullMQ's storeJob.lua and prepareJobForProcessing.lua. Nothing is written.
 */

import { levelsOf, MOST_LEVELS } from '../../read.ts';
import { COMMAND_STAGES, KEYS, PIPELINE_STAGES, PREFIX } from '../names.ts';
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
  /** Fields that are too large to be looked at, with their bytes. */
  large?: Partial<Record<Field, number>>;
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

/** Jobs whose hashes are read in one round trip, and bytes of all of them. */
const PAGE = 1000;
const PAGE_BYTES = 64 << 20;

/** Bytes of a field, names of queues: more was not made by Unfold (message.ts), and is not fetched. */
const FIELD_BYTES = 256 << 10;
const MOST_QUEUES = 1000;

/** A BullMQ key of a queue or of a job in it. */
export function queueKey(queue: string, rest: string): string {
  return `${PREFIX}:${queue}:${rest}`;
}

/** Queue and id in a job's key; undefined if it is none of ours. */
export function parseJobKey(key: string): { queue: string; id: string } | undefined {
  const match = /^([^:]+):(.+)$/s.exec(key.startsWith(`${PREFIX}:`) ? key.slice(PREFIX.length + 1) : '');
  return match ? { queue: match[1]!, id: match[2]! } : undefined;
}

/** Names of all queues that ever had a job; where somebody has put something else there, those of all stages. */
export async function queueNames(client: Client): Promise<string[]> {
  const names = await client.smembers(KEYS.queues).catch((error: Error) => {
    if (/WRONGTYPE/.test(error.message)) return [...PIPELINE_STAGES, ...COMMAND_STAGES];
    throw error;
  });
  return names.sort().slice(0, MOST_QUEUES);
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

/**
 * Reads hashes: KEYS, ARGV[1] most bytes of a field, ARGV[2] of all together, then the fields. For each key an array of its
 * values, the length in place of one that is too long; false for a key that is no hash.
 */
const READ_FIELDS = `
local most, left, replies = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for i, key in ipairs(KEYS) do
  local values = {}
  for j = 3, #ARGV do
    local length = redis.pcall('HSTRLEN', key, ARGV[j])
    if type(length) == 'table' then values = false break end
    if length > most or length > left then values[j - 2] = length
    else
      left = left - length
      values[j - 2] = redis.call('HGET', key, ARGV[j])
    end
  end
  replies[i] = values
end
return replies`;

async function readPage(client: Client, page: readonly Found[]): Promise<RawJob[]> {
  const keys = page.map(({ queue, id }) => queueKey(queue, id));
  const limits = [FIELD_BYTES, PAGE_BYTES];
  const replies = (await client.eval(READ_FIELDS, keys.length, ...keys, ...limits, ...FIELDS)) as unknown[];
  return page.map((found, index) => ({ ...found, ...fieldsOf(replies[index]) }));
}

function fieldsOf(values: unknown): Pick<RawJob, 'fields' | 'large'> {
  const known = FIELDS.map((field, index) => [field, (values as unknown[] | null)?.[index]] as const);
  const texts = known.filter(([, value]) => typeof value === 'string');
  const lengths = known.filter(([, value]) => typeof value === 'number');
  if (texts.length + lengths.length === 0) return { fields: undefined };
  const large = lengths.length > 0 ? { large: Object.fromEntries(lengths) } : {};
  return { fields: Object.fromEntries(texts) as RawJob['fields'], ...large };
}

/** One field of a job; undefined if it is not there, or not to be looked at. */
export async function readField(client: Client, key: string, field: string): Promise<string | undefined> {
  const replies = await client.eval(READ_FIELDS, 1, key, FIELD_BYTES, FIELD_BYTES, field);
  const [value] = ((replies as unknown[])[0] ?? []) as unknown[];
  return typeof value === 'string' ? value : undefined;
}

/** KEYS[1] a hash of ours, ARGV[1] most entries, ARGV[2] most bytes of one; anything else that is there counts as nothing. */
const READ_HASH = `
local cursor, out = '0', {}
repeat
  local reply = redis.pcall('HSCAN', KEYS[1], cursor, 'COUNT', 1000)
  if reply.err then return {} end
  cursor = reply[1]
  for i = 1, #reply[2], 2 do
    if #reply[2][i + 1] <= tonumber(ARGV[2]) then
      out[#out + 1] = reply[2][i]
      out[#out + 1] = reply[2][i + 1]
    end
  end
until cursor == '0' or #out >= 2 * tonumber(ARGV[1])
return out`;

/** Entries of a hash of ours (KEYS). */
export async function readHash(client: Client, key: string): Promise<Map<string, string>> {
  const flat = texts(await client.eval(READ_HASH, 1, key, MOST_ENTRIES, ENTRY_BYTES));
  return new Map(Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!]));
}

const MOST_ENTRIES = 100_000;
const ENTRY_BYTES = 16 << 10;

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

/** The value of a JSON text; undefined if it is none, or deeper than any of ours. */
export function jsonOf(text: string | undefined): unknown {
  if (text === undefined || levelsOf(text) > MOST_LEVELS) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Why a text is not looked into further, if so. */
export function whyUnreadable(text: string | undefined): string | undefined {
  if (text === undefined) return 'it has no data';
  if (levelsOf(text) > MOST_LEVELS) return `brackets in more than ${MOST_LEVELS} levels`;
  return jsonOf(text) === undefined ? 'not JSON' : undefined;
}
