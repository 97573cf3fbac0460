/**
 * @file Fails a job that BullMQ itself cannot read: a hash whose fields are not JSON, or a key that is no hash. Such a job
 * has been moved to the active list by the time that reading it throws; left there, it would come back for ever. It ends
 * among the failed ones, where people look, with its fields made readable and what they were kept beside them.
 */
import { KEYS, PREFIX } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';

/** Fields of a job that have to be JSON, what kind, and what takes their place. */
const FIELDS: Readonly<Record<string, { kind: 'any' | 'object'; instead: string | undefined }>> = {
  data: { kind: 'any', instead: '{"kind":"unreadable"}' },
  opts: { kind: 'object', instead: '{}' },
  progress: { kind: 'any', instead: '0' },
  parent: { kind: 'object', instead: undefined },
  stacktrace: { kind: 'any', instead: '[]' },
};

/** Characters of an unreadable field that are kept. */
const KEPT = 2000;

/** Fails the job that holds the lock `token`; returns its id, or undefined if there is none. */
export async function refuseHeldBy(
  connection: QueueConnection,
  queue: string,
  token: string,
  why: string,
): Promise<string | undefined> {
  const { client } = connection;
  const base = `${PREFIX}:${queue}:`;
  const active = await client.lrange(`${base}active`, 0, -1).catch(() => []);
  for (const id of active) {
    const holder = await client.get(`${base}${id}:lock`).catch(() => null);
    if (holder !== token) continue;
    await fail(connection, base, id, why);
    return id;
  }
  return undefined;
}

async function fail(connection: QueueConnection, base: string, id: string, why: string): Promise<void> {
  const { client } = connection;
  const key = base + id;
  if ((await client.type(key)) !== 'hash') await client.rename(key, `${key}:refused`).catch(() => undefined);
  const fields = await client.hgetall(key);
  const { set, remove } = mended(fields);
  const now = String(await connection.time());
  const reason = `refused: the job cannot be read (${why})`;
  const failure = {
    kind: 'bad-job',
    where: `job ${id}`,
    expected: 'a job that unfold enqueue has made',
    found: why,
    todo: 'see who else writes to this Redis; remove it with unfold jobs clean --failed',
  };
  const steps = client.multi();
  if (remove.length > 0) steps.hdel(key, ...remove);
  steps.hset(key, {
    name: fields.name ?? id,
    timestamp: fields.timestamp ?? now,
    ...set,
    progress: JSON.stringify({ failure }),
    failedReason: reason,
    finishedOn: now,
    atm: '1',
  });
  steps.lrem(`${base}active`, 0, id);
  steps.del(`${key}:lock`);
  steps.srem(`${base}stalled`, id);
  steps.zadd(`${base}failed`, now, id);
  steps.xadd(
    ...([`${base}events`, 'MAXLEN', '~', 10_000, '*'] as const),
    ...['event', 'failed', 'jobId', id, 'failedReason', reason, 'prev', 'active'],
  );
  for (const [error] of (await steps.exec()) ?? []) if (error) throw error;
  await client.hdel(KEYS.cancel, id).catch(() => undefined);
}

function mended(fields: Record<string, string>): { set: Record<string, string>; remove: string[] } {
  const set: Record<string, string> = {};
  const remove: string[] = [];
  for (const [name, { kind, instead }] of Object.entries(FIELDS)) {
    const text = fields[name];
    const wrong = text !== undefined && !readable(text, kind);
    if (wrong) set[`refused-${name}`] = text.slice(0, KEPT);
    if (instead === undefined && wrong) remove.push(name, 'parentKey');
    if (instead !== undefined && (wrong || text === undefined)) set[name] = instead;
  }
  return { set, remove };
}

function readable(text: string, kind: 'any' | 'object'): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return kind === 'any' || (typeof value === 'object' && value !== null && !Array.isArray(value));
  } catch {
    return false;
  }
}
