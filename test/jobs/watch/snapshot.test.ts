/** @file Flows as a watcher sees them, from jobs moved by hand. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { KEYS, PREFIX, type WorkerRecord } from '../../../src/jobs/names.ts';
import { snapshot, workers } from '../../../src/jobs/watch/snapshot.ts';
import { type FlowView, type JobView, jobsOf } from '../../../src/jobs/watch/view.ts';
import { direct, makeWorld, smallFlow, stage, type World } from './world.ts';

const FLOW = 'tiny-0a1b2c3d';
let world: World;

beforeAll(async () => {
  world = await makeWorld();
});
beforeEach(async () => {
  await world.connection.client.flushall();
});
afterAll(() => world.close());

const states = (flow: FlowView) => Object.fromEntries(jobsOf(flow).map(({ id, state }) => [id, state]));
const only = async (): Promise<FlowView> => {
  const flows = await snapshot(world.connection);
  expect(flows).toHaveLength(1);
  return flows[0]!;
};
const find = (flow: FlowView, id: string): JobView => jobsOf(flow).find((job) => job.id === `${FLOW}.${id}`)!;

test('an empty queue has no flows', async () => {
  expect(await snapshot(world.connection)).toEqual([]);
});

test('a flow is a tree: parents wait for children, parts hang below their stage', async () => {
  await world.add(smallFlow(FLOW));
  const flow = await only();
  expect(flow).toMatchObject({
    id: FLOW,
    state: 'waiting',
    share: 0,
    out: 'runs/test',
    counts: { waits: 3 },
  });
  expect(states(flow)).toEqual({
    [`${FLOW}.harvest.shards-0-1`]: 'waiting',
    [`${FLOW}.harvest.shards-2-3`]: 'waiting',
    [`${FLOW}.harvest`]: 'waits',
    [`${FLOW}.train`]: 'waits',
    [`${FLOW}.pipeline`]: 'waits',
  });
  const part = find(flow, 'harvest.shards-2-3');
  expect(part).toMatchObject({
    part: 'shards-2-3',
    stage: 'harvest',
    parent: `${FLOW}.harvest`,
    attempts: 0,
  });
});

test('progress, rate, ETA, loss and worker of a running job; its part of the flow', async () => {
  await world.add(smallFlow(FLOW));
  const { job } = await world.take('harvest');
  const worker = { id: 'w1', host: 'ada', pid: 7, child: 8 };
  await job.updateProgress({ done: 50, total: 100, rate: 10, eta: 5, facts: { loss: 0.25 }, worker });
  const flow = await only();
  expect(flow.state).toBe('active');
  expect(flow.share).toBeCloseTo(0.125);
  expect(find(flow, 'harvest.shards-0-1')).toMatchObject({
    state: 'active',
    share: 0.5,
    rate: 10,
    eta: 5,
    begun: 1,
    worker: { id: 'w1', host: 'ada', pid: 7, lost: true },
  });
  expect(find(flow, 'harvest').share).toBeCloseTo(0.25);
});

test('a failed child blocks all that wait for it, and names itself; after its retry the flow heals', async () => {
  await world.add(smallFlow(FLOW));
  await (await world.take('harvest')).fail('no such file');
  await (await world.take('harvest')).complete({ rows: 3 });
  const broken = await only();
  expect(broken.state).toBe('failed');
  expect(broken.finished).toBeGreaterThan(0);
  const failed = find(broken, 'harvest.shards-0-1');
  expect(failed).toMatchObject({ state: 'failed', failedReason: 'no such file' });
  for (const id of ['harvest', 'train', 'pipeline']) {
    expect(find(broken, id)).toMatchObject({ state: 'blocked', blockedBy: [failed.id] });
  }
  const job = await world.queue('harvest').getJob(failed.id);
  await job!.retry('failed');
  expect(find(await only(), 'train').state).toBe('waits');
  await (await world.take('harvest')).complete();
  await (await world.take('harvest')).complete();
  await (await world.take('train')).complete();
  await (await world.take('pipeline')).complete({ done: true });
  const whole = await only();
  expect(whole).toMatchObject({ state: 'completed', share: 1, counts: { completed: 5 } });
  expect(find(whole, 'pipeline').result).toEqual({ done: true });
});

test('jobs that will be tried later, that rest, and that somebody cancelled', async () => {
  await world.add({ message: direct('later-00000001'), options: { delay: 60_000 } });
  await world.add({ message: direct('again-00000002'), options: { attempts: 3, backoff: 60_000 } });
  await (await world.take('probe')).fail('lost its child');
  await world.add({ message: direct('rests-00000003', 'train') });
  await world.queue('train').pause();
  await world.add({ message: direct('stopped-00000004') });
  await world.connection.client.hset(
    KEYS.cancel,
    'stopped-00000004.probe',
    '{"by":"ada","reason":"wrong data"}',
  );
  await world.add({ message: direct('gone-00000005', 'encode') });
  await (await world.take('encode')).fail('cancelled by ada: wrong data');
  const flows = await snapshot(world.connection);
  const seen: Record<string, JobView> = Object.fromEntries(
    flows.map(({ id, roots }) => [id.split('-')[0]!, roots[0]!]),
  );
  expect(Object.fromEntries(Object.entries(seen).map(([name, { state }]) => [name, state]))).toEqual({
    later: 'delayed',
    again: 'delayed',
    rests: 'paused',
    stopped: 'cancelled',
    gone: 'cancelled',
  });
  expect(seen.later!.until! - Date.now()).toBeGreaterThan(50_000);
  expect(seen.again).toMatchObject({ attempts: 1, maxAttempts: 3, failedReason: 'lost its child' });
  expect(seen.stopped!.cancel).toEqual({ by: 'ada', reason: 'wrong data' });
});

test('garbage is shown with its id and state, and never hides the rest', async () => {
  const { client } = world.connection;
  await world.add({ message: direct('fine-00000001') });
  await world.queue('probe').add('x', { kind: 'unfold.job/1', stage: 7 }, { jobId: 'wrong-shape' });
  await world.queue('probe').add('x', {}, { jobId: 'not-json' });
  await client.hset(
    `${PREFIX}:probe:not-json`,
    'data',
    '{"half',
    'opts',
    'x',
    'progress',
    '[',
    'timestamp',
    'soon',
  );
  await client.lpush(`${PREFIX}:probe:wait`, 'no-hash');
  await client.set(`${PREFIX}:probe:a-string`, 'x');
  await client.lpush(`${PREFIX}:probe:wait`, 'a-string');
  await client.hset(`${PREFIX}:probe:wrong-shape`, 'parentKey', `${PREFIX}:probe:wrong-shape`);
  await client.hset(KEYS.cancel, 'no-hash', 'not json');
  await client.set(`${PREFIX}:broken:wait`, 'a string where a list should be');
  await client.sadd(KEYS.queues, 'broken', 'never-used', 'a:b');
  const jobs = Object.fromEntries(
    (await snapshot(world.connection)).flatMap(jobsOf).map((job) => [job.id, job]),
  );
  expect(Object.keys(jobs).sort()).toEqual([
    'a-string',
    'fine-00000001.probe',
    'no-hash',
    'not-json',
    'wrong-shape',
  ]);
  for (const id of ['a-string', 'no-hash', 'not-json', 'wrong-shape']) {
    expect(jobs[id]!.problem).toContain('not a message of Unfold');
  }
  expect(jobs['not-json']).toMatchObject({ state: 'waiting', stage: 'probe', progress: {}, created: 0 });
  expect(jobs['fine-00000001.probe']!.problem).toBeUndefined();
});

test('flows come newest first; filters by flow, state, stage, age of completed ones, and number', async () => {
  for (const [index, flow] of ['a-00000001', 'b-00000002', 'ab-00000003'].entries()) {
    await world.add({ message: direct(flow), options: { timestamp: 1000 + index } });
  }
  await world.add({ message: stage('c-00000004', 'train'), options: { timestamp: 5000 } });
  await (await world.take('train')).complete();
  const ids = async (filter: Parameters<typeof snapshot>[1]) =>
    (await snapshot(world.connection, filter)).map(({ id }) => id.split('-')[0]);
  expect(await ids({})).toEqual(['c', 'ab', 'b', 'a']);
  expect(await ids({ flow: 'a' })).toEqual(['ab', 'a']);
  expect(await ids({ states: ['completed'] })).toEqual(['c']);
  expect(await ids({ stages: ['probe'] })).toEqual(['ab', 'b', 'a']);
  expect(await ids({ completedWithin: -1000 })).toEqual(['ab', 'b', 'a']);
  expect(await ids({ completedWithin: 60_000, limit: 2 })).toEqual(['c', 'ab']);
});

test('workers are those that were heard of lately, by Redis’s clock', async () => {
  const now = await world.connection.time();
  const record: WorkerRecord = {
    ...{
      id: 'w1',
      host: 'ada',
      pid: 1,
      unfold: '0.1.0',
      stages: [],
      tags: [],
      concurrency: 2,
      backend: 'cpu',
    },
    ...{ jobs: [], rss_bytes: 1, completed: 0, failed: 0, stopping: false, seen: now, started: now },
  };
  await world.connection.client.hset(KEYS.workers, {
    w1: JSON.stringify(record),
    w2: JSON.stringify({ ...record, id: 'w2', seen: now - 120_000 }),
    w3: 'garbage',
  });
  expect((await workers(world.connection)).map(({ id }) => id)).toEqual(['w1']);

  await world.add({ message: direct('held-00000001') });
  await world.take('probe');
  const jobs = ['held-00000001.probe'];
  await world.connection.client.hset(KEYS.workers, {
    killed: JSON.stringify({ ...record, id: 'killed', jobs, seen: now - 9000 }),
    next: JSON.stringify({ ...record, id: 'next', pid: 2, jobs }),
  });
  expect((await only()).roots[0]!.worker).toEqual({ id: 'next', host: 'ada', pid: 2 });
});

test('ten thousand jobs are listed within seconds', { timeout: 60_000 }, async () => {
  const many = Array.from({ length: 10_000 }, (_, index) => {
    const message = stage(FLOW, 'harvest', `shard-${index}`);
    return { name: 'harvest', data: message, opts: { jobId: `${FLOW}.harvest.shard-${index}` } };
  });
  await world.connection.client.sadd(KEYS.queues, 'harvest');
  await world.queue('harvest').addBulk(many);
  const start = performance.now();
  const flow = await only();
  const seconds = (performance.now() - start) / 1000;
  expect(flow.counts).toEqual({ waiting: 10_000 });
  expect(jobsOf(flow)[9_999]!.part).toBe('shard-9999');
  if (process.env.SHOW_TIMES) console.log(`10,000 jobs in ${seconds.toFixed(2)} s`);
  expect(seconds).toBeLessThan(10);
});
