/**
 * @file What a Redis says of itself: version, memory, persistence. One INFO for each master, and CONFIG GET for the two
 * things that INFO leaves out; many hosted servers and ACL users may not ask those.
 */
import { Cluster, type Redis } from 'ioredis';

/** A master's facts. Undefined: the server does not tell. */
export interface ServerFacts {
  /** host:port or path; empty for the one server of a connection. */
  node: string;
  software: 'redis' | 'valkey' | 'dragonfly';
  version: string;
  role: string;
  /** A node of a Cluster. */
  cluster: boolean;
  uptime_seconds: number;
  clients: number;
  memory_bytes: number;
  /** 0: no limit. */
  memory_limit_bytes: number;
  /** maxmemory-policy. */
  policy: string | undefined;
  /** Append-only file on. */
  aof: boolean;
  /** `always`, `everysec` or `no`; undefined if CONFIG is not allowed. */
  aof_fsync: string | undefined;
  /** Snapshots: seconds and changes (`3600 1 300 100`), '' for none, undefined if CONFIG is not allowed. */
  save: string | undefined;
  /** False if the last write of AOF or snapshot failed: a full disk. */
  disk_ok: boolean;
}

/** Asks the server, or every master of a Cluster. */
export async function inspectServers(client: Redis | Cluster): Promise<ServerFacts[]> {
  if (!(client instanceof Cluster)) return [await inspect(client, '')];
  return Promise.all(
    client.nodes('master').map((node) => inspect(node, `${node.options.host}:${node.options.port}`)),
  );
}

async function inspect(redis: Redis, node: string): Promise<ServerFacts> {
  const info = parseInfo(await redis.info());
  const number = (name: string) => Number(info.get(name) ?? 0);
  return {
    node,
    software: softwareOf(info),
    version: info.get('valkey_version') ?? info.get('redis_version') ?? 'unknown',
    role: info.get('role') ?? 'unknown',
    cluster: info.get('cluster_enabled') === '1',
    uptime_seconds: number('uptime_in_seconds'),
    clients: number('connected_clients'),
    memory_bytes: number('used_memory'),
    memory_limit_bytes: number('maxmemory'),
    policy: info.get('maxmemory_policy'),
    aof: info.get('aof_enabled') === '1',
    aof_fsync: await configured(redis, 'appendfsync'),
    save: await configured(redis, 'save'),
    disk_ok: !['aof_last_write_status', 'rdb_last_bgsave_status', 'aof_last_bgrewrite_status'].some(
      (name) => info.get(name) === 'err',
    ),
  };
}

function softwareOf(info: Map<string, string>): ServerFacts['software'] {
  if (info.has('dragonfly_version')) return 'dragonfly';
  return info.has('valkey_version') ? 'valkey' : 'redis';
}

/** `name:value` lines of INFO. */
export function parseInfo(text: string): Map<string, string> {
  return new Map(
    text.split(/\r?\n/).flatMap((line) => {
      const at = line.indexOf(':');
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1)] as const] : [];
    }),
  );
}

async function configured(redis: Redis, name: string): Promise<string | undefined> {
  try {
    const answer = (await redis.config('GET', name)) as string[];
    return answer[1];
  } catch {
    return undefined; // NOPERM, or a hosted server without CONFIG
  }
}
