/**
 * @file Whether a Redis can hold a queue. Refused is what loses jobs or breaks BullMQ; warned about is what may lose them
 * one day. BullMQ prints a line on the console for two of these; here each comes with the command that mends it.
 */
import type { Cluster, Redis } from 'ioredis';
import { compact } from '../../cli/terminal.ts';
import { type Lesson, UnfoldError } from '../../errors.ts';
import { PREFIX } from '../names.ts';
import { inspectServers, type ServerFacts } from './inspect.ts';
import type { RedisAddress } from './url.ts';

/** One thing to know about a server. `error`: the queue is not opened. */
export interface Judgement {
  severity: 'error' | 'warning' | 'note';
  lesson: Lesson;
}

/** BullMQ's Lua needs it. */
const OLDEST = '5.0';
/** What BullMQ is developed against. */
const RECOMMENDED = '6.2';

/** What brings queued jobs back after a loss. */
const REQUEUE = 'after a loss, unfold jobs requeue DIR queues again what is not finished in DIR';

/**
 * Facts of the servers and what is to be thought of them.
 * @throws UnfoldError `bad-queue` if this user may not do what a queue needs; `bad-redis` if the server takes no writes
 */
export async function judgeServers(
  client: Redis | Cluster,
  address: RedisAddress,
): Promise<{ servers: ServerFacts[]; judgements: Judgement[] }> {
  let servers: ServerFacts[];
  try {
    servers = await inspectServers(client);
  } catch (error) {
    throw refused(address, error as Error);
  }
  return { servers, judgements: together(servers, address) };
}

/** What is the same on every node of a Cluster is said once. */
function together(servers: readonly ServerFacts[], address: RedisAddress): Judgement[] {
  const lists = servers.map((facts) => judge(facts, address));
  const [first] = lists;
  const same = (list: Judgement[]) => JSON.stringify(list.map(({ lesson }) => lesson.found));
  if (first === undefined || servers.length === 1 || lists.some((list) => same(list) !== same(first))) {
    return lists.flat();
  }
  const where = `${address.shown} (all ${servers.length} masters)`;
  const { node } = servers[0]!;
  return first.map(({ severity, lesson }) => {
    const todo = lesson.todo.replace(redisCli(address, servers[0]!), `redis-cli --cluster call ${node}`);
    return { severity, lesson: { ...lesson, where, todo } };
  });
}

/**
 * Writes one key as a script and removes it: permissions, a replica, a full memory or disk show here and not in the night.
 * @throws UnfoldError `bad-queue` or `bad-redis`
 */
export async function tryWriting(client: Redis | Cluster, address: RedisAddress): Promise<void> {
  const script = "redis.call('SET', KEYS[1], '1', 'PX', 1000) return redis.call('DEL', KEYS[1])";
  try {
    await client.eval(script, 1, `${PREFIX}:unfold-probe`);
  } catch (error) {
    throw refused(address, error as Error);
  }
}

/** What one server's facts mean. */
export function judge(facts: ServerFacts, address: RedisAddress): Judgement[] {
  const where = facts.node ? `${address.shown} (${facts.node})` : address.shown;
  return [
    ...judgeVersion(facts, where),
    ...judgeMode(facts, where, address),
    ...judgePolicy(facts, where, address),
    ...judgeMemory(facts, where),
    ...judgePersistence(facts, where, address),
  ];
}

function judgeVersion(facts: ServerFacts, where: string): Judgement[] {
  const { software, version } = facts;
  if (software !== 'redis' || !/^\d/.test(version)) return [];
  const lesson = {
    where,
    found: `Redis ${version}`,
    todo: 'upgrade it (Redis 7 and Valkey 8 are tested most), or leave --queue out: a private server is then started here',
  };
  if (older(version, OLDEST)) {
    return [{ severity: 'error', lesson: { ...lesson, expected: `Redis ${OLDEST} or later` } }];
  }
  if (!older(version, RECOMMENDED)) return [];
  return [{ severity: 'warning', lesson: { ...lesson, expected: `Redis ${RECOMMENDED} or later` } }];
}

/** True if `version` comes before `than`, by major and minor. */
export function older(version: string, than: string): boolean {
  const [a, b] = [version, than].map((text) => text.split('.').map(Number));
  return (a![0] ?? 0) < b![0]! || (a![0] === b![0] && (a![1] ?? 0) < b![1]!);
}

const REPLICA = {
  expected: 'a server that takes writes',
  found: 'a replica (READONLY)',
  todo: 'name its master, or redis+sentinel://…',
};

/** One node of a Cluster knows its own keys only, and its slots may move. */
function judgeMode({ cluster, role }: ServerFacts, where: string, { place }: RedisAddress): Judgement[] {
  // One that takes writes, too, loses them when it hears from its master.
  if (/^(slave|replica)$/.test(role)) return [{ severity: 'error', lesson: { where, ...REPLICA } }];
  if (!cluster || place.type === 'cluster') return [];
  const at = place.type === 'tcp' ? `${place.at.host}:${place.at.port}` : 'HOST:PORT';
  const todo = `redis+cluster://${at}`;
  const lesson = { where, expected: 'a server of its own', found: 'a node of a Cluster', todo };
  return [{ severity: 'error', lesson }];
}

function judgePolicy(facts: ServerFacts, where: string, address: RedisAddress): Judgement[] {
  if (facts.policy === undefined || facts.policy === 'noeviction') return [];
  const limited = facts.memory_limit_bytes > 0;
  const limit = `${compact(facts.memory_limit_bytes)}B`;
  return [
    {
      severity: limited ? 'error' : 'warning',
      lesson: {
        where,
        expected: 'maxmemory-policy noeviction: a queue must never lose a key',
        found: `${facts.policy}${limited ? `, with a limit of ${limit}: jobs would vanish` : ' (no memory limit now)'}`,
        todo: `${redisCli(address, facts)} config set maxmemory-policy noeviction   (and the same in redis.conf)`,
      },
    },
  ];
}

function judgeMemory({ memory_bytes, memory_limit_bytes }: ServerFacts, where: string): Judgement[] {
  if (memory_limit_bytes === 0 || memory_bytes < 0.9 * memory_limit_bytes) return [];
  const found = `${compact(memory_bytes)}B of ${compact(memory_limit_bytes)}B in use`;
  const todo = 'raise maxmemory, or remove finished jobs: unfold jobs clean';
  return [{ severity: 'warning', lesson: { where, expected: 'memory to spare', found, todo } }];
}

function judgePersistence(facts: ServerFacts, where: string, address: RedisAddress): Judgement[] {
  const cli = redisCli(address, facts);
  if (!facts.disk_ok) {
    const todo = 'look at its log and at the disk that it writes to';
    const found = 'its last write to disk failed';
    return [{ severity: 'warning', lesson: { where, expected: 'a Redis that saves its data', found, todo } }];
  }
  if (facts.aof) return [];
  const expected = 'an append-only file, so that queued jobs survive the end of Redis';
  const todo = `${cli} config set appendonly yes   (and in redis.conf); ${REQUEUE}`;
  if (facts.save === '') {
    return [{ severity: 'warning', lesson: { where, expected, found: 'no persistence at all', todo } }];
  }
  const found =
    facts.save === undefined
      ? 'none; whether snapshots are made could not be asked (no permission for CONFIG)'
      : `snapshots only (save ${facts.save}): jobs queued since the last one may be lost`;
  return [{ severity: 'note', lesson: { where, expected, found, todo } }];
}

/** The start of a redis-cli command that reaches this server. */
export function redisCli(
  { place, username, password, tls, db }: RedisAddress,
  { node }: ServerFacts,
): string {
  const [host, port] = node
    ? [node.slice(0, node.lastIndexOf(':')), node.slice(node.lastIndexOf(':') + 1)]
    : [];
  const words = ['redis-cli'];
  if (place.type === 'unix') words.push('-s', place.path);
  if (place.type === 'tcp') words.push('-h', place.at.host, '-p', String(place.at.port));
  if (place.type === 'cluster') words.push('-h', host ?? '', '-p', port ?? '');
  if (place.type === 'sentinel') words.push('-h', 'THE-MASTER');
  if (tls) words.push('--tls', ...(tls.ca ? ['--cacert', tls.ca] : []));
  if (username) words.push('--user', username);
  if (password) words.push('--askpass');
  if (db) words.push('-n', String(db));
  return words.join(' ');
}

/** What a refusal of Redis means: a lesson where it is known, else the error itself. */
export function refused(address: Pick<RedisAddress, 'shown' | 'username'>, error: Error): Error {
  const [, code = ''] =
    /(NOPERM|READONLY|MISCONF|OOM|NOREPLICAS|CLUSTERDOWN|WRONGTYPE)/.exec(error.message) ?? [];
  const lesson = REFUSALS[code];
  if (lesson === undefined) return error;
  const [kind, expected, todo] = lesson;
  const user = address.username ?? 'default';
  return new UnfoldError(kind, {
    where: address.shown,
    expected,
    found: error.message,
    todo: todo.replace('<user>', user),
    cause: error,
  });
}

const REFUSALS: Record<string, readonly [kind: string, expected: string, todo: string]> = {
  NOPERM: [
    'bad-queue',
    'a user that may use the keys of the queue',
    `as an administrator: ACL SETUSER <user> ~${PREFIX}:* &* +@all -@dangerous +info +client|list`,
  ],
  READONLY: [
    'bad-redis',
    'a server that takes writes',
    'this is a replica: name its master, or redis+sentinel://…',
  ],
  MISCONF: ['bad-redis', 'a server that can save its data', 'make room on the disk that Redis writes to'],
  OOM: ['bad-redis', 'memory to spare', 'raise maxmemory, or remove finished jobs: unfold jobs clean'],
  NOREPLICAS: ['bad-redis', 'enough replicas (min-replicas-to-write)', 'start the replicas again'],
  WRONGTYPE: [
    'bad-redis',
    `keys of ${PREFIX} as Unfold and BullMQ write them`,
    `somebody else writes to this Redis: remove the key of the wrong type (redis-cli --scan --pattern '${PREFIX}:*', TYPE)`,
  ],
  CLUSTERDOWN: [
    'bad-redis',
    'a Cluster that serves all slots',
    'redis-cli --cluster check NODE says what is missing',
  ],
};
