/** @file Numbers of Redis that decide whether the queue is safe: is it there, how full is it, does it write to disk. */
import type { QueueConnection } from '../../jobs/redis/open.ts';
import type { Sheet } from './gauges.ts';

/** Fields of INFO, and what they are called here. */
const FIELDS: readonly (readonly [field: string, name: string, help: string])[] = [
  ['used_memory', 'unfold_redis_memory_used_bytes', 'Memory that Redis uses for data.'],
  ['maxmemory', 'unfold_redis_memory_max_bytes', 'Limit of Redis’s memory; 0: none.'],
  ['connected_clients', 'unfold_redis_connected_clients', 'Connections to Redis.'],
  ['uptime_in_seconds', 'unfold_redis_uptime_seconds', 'Seconds since Redis began.'],
  ['aof_enabled', 'unfold_redis_aof_enabled', '1 if Redis keeps an append-only file.'],
];

/** Adds what INFO says; in a Cluster, of one node. */
export async function collectRedis(sheet: Sheet, { client }: QueueConnection): Promise<void> {
  const info = await client.info();
  for (const [field, name, help] of FIELDS) {
    const value = new RegExp(`^${field}:(\\d+)`, 'm').exec(info)?.[1];
    sheet.gauge(name, help, {}, value === undefined ? undefined : Number(value));
  }
}
