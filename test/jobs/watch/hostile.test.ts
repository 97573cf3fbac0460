/** @file What anybody may have put into Redis: each piece is one row that says why, and hides none of the others. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { UnfoldError } from '../../../src/errors.ts';
import { KEYS, PREFIX } from '../../../src/jobs/names.ts';
import { refused } from '../../../src/jobs/redis/judge.ts';
import { cancel, clean, retry } from '../../../src/jobs/watch/actions.ts';
import { details } from '../../../src/jobs/watch/details.ts';
import { readLogs } from '../../../src/jobs/watch/logs.ts';
import { resolve } from '../../../src/jobs/watch/resolve.ts';
import { snapshot, workers } from '../../../src/jobs/watch/snapshot.ts';
import { jobsOf } from '../../../src/jobs/watch/view.ts';
import { makeWorld, smallFlow, type World } from './world.ts';

const FLOW = 'tiny-0a1b2c3d';
let world: World;
beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world.close());

const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
const good = (more: object) => JSON.stringify({ ...smallFlow(FLOW).message, flow: 'bad', ...more });

/** Fields of a job's hash, and what its row says. */
const BAD: Record<string, [fields: Record<string, string>, says: RegExp]> = {
  deep: [{ data: good({ settings: 0 }).replace('"settings":0', `"settings":${nested(3000)}`) }, /200 levels/],
  'deeper.harvest': [{ data: nested(100_000), progress: nested(100_000), opts: nested(9000) }, /200 levels/],
  large: [{ data: JSON.stringify({ text: 'x'.repeat(5 << 20) }) }, /52\d{5} bytes/],
  text: [{ data: '{"kind":' }, /not JSON/],
  nothing: [{ name: 'x', timestamp: '1' }, /it has no data/],
  null: [{ data: 'null' }, /not a message/],
  proto: [{ data: `{"__proto__":{"polluted":1},${good({}).slice(1)}` }, /__proto__/],
  numbers: [
    { data: '1e999', timestamp: '1e999', processedOn: '-1e308', atm: 'NaN', priority: '9'.repeat(400) },
    /not a message/,
  ],
  'control\u001b[2J\r\n': [{ data: '{}' }, /not a message/],
  'cycle-a': [{ data: '{}', parentKey: `${PREFIX}:harvest:cycle-b` }, /not a message/],
  'cycle-b': [{ data: '{}', parentKey: `${PREFIX}:harvest:cycle-a` }, /not a message/],
  own: [{ data: '{}', parentKey: `${PREFIX}:harvest:own` }, /not a message/],
  facts: [{ data: '{}', progress: '{"facts":{"__proto__":1,"loss":1e999},"losses":[[]]}' }, /not a message/],
};

async function addHostile(): Promise<void> {
  const { client } = world.connection;
  const set = client.pipeline();
  for (const [id, [fields]] of Object.entries(BAD)) {
    set.hset(`${PREFIX}:harvest:${id}`, fields);
    set.lpush(`${PREFIX}:harvest:wait`, id);
  }
  set.set(`${PREFIX}:harvest:string`, 'no hash').zadd(`${PREFIX}:harvest:failed`, 1, 'string');
  set.set(`${PREFIX}:harvest:delayed`, 'no set').lpush(`${PREFIX}:harvest:deep:logs`, 'x'.repeat(1 << 20));
  set.call('HSET', `${PREFIX}:harvest:bytes`, Buffer.from('data'), Buffer.from([0xff, 0xfe, 0x80]));
  set.lpush(`${PREFIX}:harvest:wait`, 'bytes', Buffer.from([0xc3, 0x28]));
  set.hset(KEYS.workers, 'w', nested(5000), 'v', 'x'.repeat(1 << 20), 'u', '{"seen":1e999}');
  set.hset(KEYS.cancel, 'deep', nested(5000));
  for (const [error] of (await set.exec()) ?? []) if (error) throw error;
}

test('every bad record is a row with its reason; the flow beside them is whole; each can be looked at and removed', async () => {
  await world.add(smallFlow(FLOW));
  await addHostile();
  const flows = await snapshot(world.connection);
  expect(jobsOf(flows.find(({ id }) => id === FLOW)!)).toHaveLength(5);
  const rows = new Map(flows.flatMap(jobsOf).map((job) => [job.id, job]));
  for (const [id, [, says]] of Object.entries(BAD)) expect(rows.get(id)?.problem, id).toMatch(says);
  expect(rows.get('string')?.problem).toMatch(/nothing is stored/);
  expect(rows.get('bytes')?.problem).toMatch(/not JSON/);
  expect(await workers(world.connection)).toEqual([]);
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
  for (const id of [...Object.keys(BAD), 'string']) {
    const target = await resolve(world.connection, id);
    const job = target.job ?? target.jobs[0]!;
    expect((await details(world.connection, { ...target, job })).problem, id).toBeDefined();
    const lines = await readLogs(world.connection, target.jobs, 10);
    for (const { line } of lines) expect(line.length).toBeLessThan(20_000);
    for (const act of [
      () => retry(world.connection, target.jobs),
      () => cancel(world.connection, target, { by: 'test', reason: '' }),
      async () => clean(world.connection, await snapshot(world.connection, { flow: id })),
    ])
      await act().catch((error: Error) =>
        expect(refused({ shown: 'redis' }, error), id).toBeInstanceOf(UnfoldError),
      );
  }
  expect(jobsOf((await snapshot(world.connection, { flow: FLOW }))[0]!)).toHaveLength(5);
});

test('a chain of parents without end, and a flow of 10,000 children, are shown', async () => {
  const { client } = world.connection;
  await client.flushall();
  await world.add(smallFlow(FLOW));
  const set = client.pipeline();
  for (let i = 0; i < 10_000; i++) {
    set.hset(`${PREFIX}:harvest:wide.harvest.p-${i}`, {
      data: '{}',
      parentKey: `${PREFIX}:harvest:wide.harvest`,
    });
    set.rpush(`${PREFIX}:harvest:wait`, `wide.harvest.p-${i}`);
    if (i < 2000) {
      set.hset(`${PREFIX}:train:long.train.${i}`, {
        data: '{}',
        parentKey: `${PREFIX}:train:long.train.${i + 1}`,
      });
      set.rpush(`${PREFIX}:train:wait`, `long.train.${i}`);
    }
  }
  set.hset(`${PREFIX}:harvest:wide.harvest`, { data: '{}' }).rpush(`${PREFIX}:harvest:wait`, 'wide.harvest');
  await set.exec();
  const flows = await snapshot(world.connection);
  const count = (id: string) => jobsOf(flows.find((flow) => flow.id === id)!).length;
  expect([count(FLOW), count('wide'), count('long')]).toEqual([5, 10_001, 2000]);
});

test('our own keys with something else in them: jobs of all stages are found all the same', async () => {
  const { client } = world.connection;
  await client.flushall();
  await world.add(smallFlow(FLOW));
  for (const key of [KEYS.queues, KEYS.workers, KEYS.cancel]) {
    await client.del(key);
    await client.set(key, 'mine');
  }
  const [flow] = await snapshot(world.connection);
  expect(jobsOf(flow!)).toHaveLength(5);
  expect(await workers(world.connection)).toEqual([]);
});
