/** @file What is thought of a server, by its facts: for versions and troubles that no server here has. */
import { expect, test } from 'vitest';
import type { ServerFacts } from '../../../src/jobs/redis/inspect.ts';
import { judge, older } from '../../../src/jobs/redis/judge.ts';
import { parseRedisUrl } from '../../../src/jobs/redis/url.ts';

const good: ServerFacts = {
  node: '',
  software: 'redis',
  version: '7.2.4',
  role: 'master',
  cluster: false,
  uptime_seconds: 1,
  clients: 1,
  memory_bytes: 1e6,
  memory_limit_bytes: 0,
  policy: 'noeviction',
  aof: true,
  aof_fsync: 'everysec',
  save: '',
  disk_ok: true,
};

const said = (facts: Partial<ServerFacts>, url = 'redis://gpu1') =>
  judge({ ...good, ...facts }, parseRedisUrl(url)).map(
    ({ severity, lesson }) => `${severity}: ${lesson.found}`,
  );

test('versions: below 5 refused, below 6.2 warned about; Valkey counts its own', () => {
  expect(said({})).toEqual([]);
  expect(said({ version: '4.0.14' })).toEqual(['error: Redis 4.0.14']);
  expect(said({ version: '5.0.7' })).toEqual(['warning: Redis 5.0.7']);
  expect(said({ version: '6.0.16' })).toEqual(['warning: Redis 6.0.16']);
  expect(said({ version: '6.2.0' })).toEqual([]);
  expect(said({ version: '10.0.1' })).toEqual([]);
  expect(said({ software: 'dragonfly', version: '1.2.0' })).toEqual([]);
  expect(older('6.10.0', '6.2')).toBe(false);
});

test('a memory that is nearly full and a disk that failed are warned about', () => {
  expect(said({ memory_bytes: 95, memory_limit_bytes: 100 })).toEqual(['warning: 95B of 100B in use']);
  expect(said({ memory_bytes: 80, memory_limit_bytes: 100 })).toEqual([]);
  expect(said({ disk_ok: false })).toEqual(['warning: its last write to disk failed']);
});

test('a node of a Cluster is not opened as one server', () => {
  expect(said({ cluster: true })).toEqual(['error: a node of a Cluster']);
  expect(said({ cluster: true, node: 'n1:7000' }, 'redis+cluster://n1:7000')).toEqual([]);
});

test('the command that mends it reaches the server, and asks for the password instead of showing it', () => {
  const todo = (url: string) => judge({ ...good, policy: 'allkeys-lfu' }, parseRedisUrl(url))[0]!.lesson.todo;
  const end = 'config set maxmemory-policy noeviction';
  expect(todo('redis+unix:///run/redis.sock?db=2')).toContain(`redis-cli -s /run/redis.sock -n 2 ${end}`);
  expect(todo('rediss://ann:hunter2@gpu1:7000?ca=ca.pem')).toContain(
    `redis-cli -h gpu1 -p 7000 --tls --cacert ca.pem --user ann --askpass ${end}`,
  );
});
