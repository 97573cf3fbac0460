/** @file A queue on a Redis Cluster of three masters: the braces of our prefix keep every key of a flow in one slot. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openQueue } from '../../../src/jobs/redis/open.ts';
import { queueStatus } from '../../../src/jobs/redis/status.ts';
import { freePort, startRedis, type TestRedis } from '../../support/redis.ts';
import { listening, runFlow } from './support.ts';

const nodes: TestRedis[] = [];
const url = () => `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;

beforeAll(async () => {
  const ranges = [
    ['0', '5460'],
    ['5461', '10922'],
    ['10923', '16383'],
  ] as const;
  for (const range of ranges) {
    const bus = String(await freePort());
    const args = ['--cluster-enabled', 'yes', '--cluster-port', bus, '--cluster-node-timeout', '2000'];
    const node = await startRedis({ aof: true, port: 'tcp', args });
    nodes.push(node);
    await admin(node, (client) => client.call('CLUSTER', 'ADDSLOTSRANGE', ...range));
    const first = nodes[0]!;
    const firstBus = await admin(first, (client) => client.config('GET', 'cluster-port'));
    const meeting = ['127.0.0.1', String(first.port), (firstBus as string[])[1]!];
    if (node !== first) await admin(node, (client) => client.call('CLUSTER', 'MEET', ...meeting));
  }
  const formed = async (node: TestRedis) =>
    expect(await admin(node, (client) => client.cluster('INFO'))).toMatch(
      /cluster_state:ok[\s\S]*cluster_known_nodes:3/,
    );
  await vi.waitFor(() => Promise.all(nodes.map(formed)), { timeout: 30_000, interval: 100 });
});

afterAll(() => Promise.all(nodes.map((node) => node.stop())));

async function admin<T>(node: TestRedis, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis({ port: node.port! });
  return use(client).finally(() => client.disconnect());
}

test('a flow over two queues runs; all keys are on one node; every master is looked at', async () => {
  const heard = listening();
  const connection = await openQueue(url(), heard.context);
  expect(await runFlow(connection)).toEqual(['shards']);
  expect(Math.abs((await connection.time()) - Date.now())).toBeLessThan(2000);
  const sizes = await Promise.all(nodes.map((node) => admin(node, (client) => client.dbsize())));
  expect(sizes.filter((size) => size > 0)).toHaveLength(1);
  expect(heard.warnings).toEqual([]);
  const { servers } = await queueStatus(url(), heard.context);
  expect(servers.map(({ node }) => node).sort()).toEqual(nodes.map(({ port }) => `127.0.0.1:${port}`).sort());
  await connection.close();
});

test('one node that evicts is named', async () => {
  await admin(nodes[1]!, (client) => client.config('SET', 'maxmemory-policy', 'volatile-lru'));
  const heard = listening();
  await (await openQueue(url(), heard.context)).close();
  expect(heard.warnings).toEqual([
    expect.stringContaining(
      `redis-cli -h 127.0.0.1 -p ${nodes[1]!.port} config set maxmemory-policy noeviction`,
    ),
  ]);
});

test('what all nodes have in common is said once, with the command for all', async () => {
  const heard = listening();
  for (const node of nodes)
    await admin(node, (client) => client.config('SET', 'maxmemory-policy', 'volatile-lru'));
  await (await openQueue(url(), heard.context)).close();
  expect(heard.warnings).toEqual([expect.stringContaining('(all 3 masters)')]);
  expect(heard.warnings[0]).toMatch(
    /redis-cli --cluster call 127\.0\.0\.1:\d+ config set maxmemory-policy noeviction/,
  );
});

test('all nodes die and return: commands issued meanwhile succeed', async () => {
  const heard = listening();
  const connection = await openQueue(url(), heard.context);
  await connection.client.set('{unfold}:kept', 'yes');
  await Promise.all(nodes.map((node) => node.kill()));
  const meanwhile = connection.client.get('{unfold}:kept');
  await vi.waitFor(() => expect(heard.warnings.join()).toContain('is lost'), { timeout: 10_000 });
  await Promise.all(nodes.map((node) => node.restart()));
  expect(await meanwhile).toBe('yes');
  expect(await runFlow(connection)).toEqual(['shards']);
  await connection.close();
});

test('a node that is no Cluster, and a Cluster opened as one server, are told apart', async () => {
  const single = await startRedis({ aof: true, port: 'tcp' });
  const refused = openQueue(`redis+cluster://127.0.0.1:${single.port}`, listening().context);
  await expect(refused).rejects.toThrow(/redis:\/\/ in place of redis\+cluster/);
  await single.stop();
  const asOne = openQueue(`redis://127.0.0.1:${nodes[0]!.port}`, listening().context);
  await expect(asOne).rejects.toThrow(/redis\+cluster:\/\//);
});
