/** @file What a person does to jobs: cancel, retry, pause, clean; and finding them by the beginnings of their ids. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { KEYS, PREFIX } from '../../../src/jobs/names.ts';
import { cancel, clean, cleanable, pause, resolve, resume, retry } from '../../../src/jobs/watch/actions.ts';
import { cancelParts } from '../../../src/jobs/watch/cancel.ts';
import { details } from '../../../src/jobs/watch/details.ts';
import { follow } from '../../../src/jobs/watch/follow.ts';
import { followLogs, type LogLine, readLogs } from '../../../src/jobs/watch/logs.ts';
import { snapshot } from '../../../src/jobs/watch/snapshot.ts';
import { type FlowView, jobsOf } from '../../../src/jobs/watch/view.ts';
import { direct, makeWorld, smallFlow, type World } from './world.ts';

const FLOW = 'tiny-0a1b2c3d';
const ADA = { by: 'ada@lab', reason: 'wrong data' };
let world: World;

beforeAll(async () => {
  world = await makeWorld();
});
beforeEach(async () => {
  await world.connection.client.flushall();
});
afterAll(() => world.close());

const target = (id: string) => resolve(world.connection, id);
const flow = async (id = FLOW): Promise<FlowView> => (await target(id)).flow;
const state = async (id: string) => (await target(`${FLOW}.${id}`)).job!.state;
const states = async () => (await flow()).counts;

test('cancel fails what waits or is delayed at once, asks workers for what runs, holds what waits for those', async () => {
  await world.add(smallFlow(FLOW));
  const running = await world.take('harvest');
  const result = await cancel(world.connection, await target(FLOW), ADA);
  expect(result).toEqual({
    cancelled: [`${FLOW}.harvest.shards-2-3`],
    asked: [running.job.id],
    held: [`${FLOW}.pipeline`, `${FLOW}.train`, `${FLOW}.harvest`],
    ended: [],
  });
  expect(await states()).toEqual({ active: 1, cancelled: 4 });
  expect((await flow()).state).toBe('active');
  const waiting = (await target(`${FLOW}.harvest.shards-2-3`)).job!;
  expect(waiting.failedReason).toBe('cancelled by ada@lab: wrong data');
  expect(await world.queue('harvest').getJobCounts('wait', 'failed')).toEqual({ wait: 0, failed: 1 });
  await running.fail('cancelled by ada@lab: wrong data');
  expect((await flow()).state).toBe('cancelled');

  await world.add({ message: direct('later-00000001'), options: { delay: 60_000, priority: 3 } });
  await world.add({ message: direct('soon-00000002'), options: { priority: 3 } });
  for (const id of ['later', 'soon']) {
    const { cancelled } = await cancel(world.connection, await target(id), ADA);
    expect(cancelled).toHaveLength(1);
    expect((await flow(id)).state).toBe('cancelled');
  }
  await expect(world.take('probe')).rejects.toThrow('no job');
});

test('parts of a job that turns out to be cancelled are cancelled, the stage itself is left to its worker', async () => {
  await world.add(smallFlow(FLOW));
  await cancelParts(world.connection, { queue: 'harvest', id: `${FLOW}.harvest` }, ADA);
  expect(await state('harvest.shards-0-1')).toBe('cancelled');
  expect(await state('harvest.shards-2-3')).toBe('cancelled');
  expect(await state('harvest')).toBe('blocked');
  expect(await world.connection.client.exists(KEYS.cancel)).toBe(0);
});

test('a cancelled flow is taken up again by retry, and runs to its end', async () => {
  await world.add(smallFlow(FLOW));
  await cancel(world.connection, await target(FLOW), ADA);
  const { jobs } = await target(FLOW);
  const result = await retry(world.connection, jobs);
  expect(result.retried).toEqual([`${FLOW}.harvest.shards-0-1`, `${FLOW}.harvest.shards-2-3`]);
  expect(result.released).toEqual([`${FLOW}.harvest`, `${FLOW}.train`, `${FLOW}.pipeline`]);
  expect(await world.connection.client.hlen(KEYS.cancel)).toBe(0);
  expect(await states()).toEqual({ waiting: 2, waits: 3 });
  for (const queue of ['harvest', 'harvest', 'harvest', 'train', 'pipeline']) {
    await (await world.take(queue)).complete();
  }
  expect((await flow()).state).toBe('completed');
});

test('cancelling one job leaves the earlier stages that it waits for alone', async () => {
  await world.add(smallFlow(FLOW));
  const result = await cancel(world.connection, await target(`${FLOW}.train`), ADA);
  expect(result).toEqual({ cancelled: [], asked: [], held: [`${FLOW}.train`], ended: [] });
  expect(await state('harvest.shards-0-1')).toBe('waiting');
  expect(await state('train')).toBe('cancelled');
});

test('retry gives a failed job all its attempts again, and forgets lost workers', async () => {
  await world.add({ message: direct('again-00000001'), options: { attempts: 2, backoff: 0 } });
  await (await world.take('probe')).fail('lost its child');
  await (await world.take('probe')).fail('lost its child');
  await world.connection.client.hset(`${PREFIX}:probe:again-00000001.probe`, 'stc', 2);
  expect((await target('again')).jobs[0]).toMatchObject({
    state: 'failed',
    attempts: 2,
    recovered: 2,
    begun: 2,
  });
  await retry(world.connection, (await target('again')).jobs);
  expect((await target('again')).jobs[0]).toMatchObject({ state: 'waiting', attempts: 0, recovered: 0 });
});

test('data that is no message of Unfold is not retried, but can be cancelled and removed', async () => {
  await world.add({ message: direct('fine-00000001') });
  const queue = world.queue('probe');
  await queue.add('x', { rm: '-rf' }, { jobId: 'poison' });
  const { job } = (await target('poison')).job
    ? await target('poison')
    : { job: (await target('poison')).jobs[0] };
  expect(job?.problem).toContain('not a message of Unfold');
  const shown = await details(world.connection, { ...(await target('poison')), job: job! });
  expect(shown.garbage).toBe('{"rm":"-rf"}');
  expect((await cancel(world.connection, await target('poison'), ADA)).cancelled).toEqual(['poison']);
  const refused = await retry(world.connection, (await target('poison')).jobs);
  expect(refused.retried).toEqual([]);
  expect(refused.refused[0]!.why).toContain('not a message of Unfold');
  expect(await clean(world.connection, [await flow('poison')])).toMatchObject({ removed: ['poison'] });
  expect((await snapshot(world.connection)).map(({ id }) => id)).toEqual(['fine-00000001']);
});

test('an id may be shortened as long as it is the only one; else the lesson names the candidates', async () => {
  await world.add(smallFlow(FLOW));
  await world.add({ message: direct('tiny-0a99ffff') });
  expect(await target('tiny-0a1')).toMatchObject({ flow: { id: FLOW }, jobs: { length: 5 } });
  expect((await target(`${FLOW}.harvest.shards-0`)).job?.part).toBe('shards-0-1');
  expect((await target(`${FLOW}.harvest`)).jobs).toHaveLength(3);
  const lesson = (id: string) => target(id).catch((error: Error) => error.message);
  expect(await lesson('tiny-0a')).toContain('2 that begin so: tiny-0a99ffff, tiny-0a1b2c3d');
  expect(await lesson(`${FLOW}.harvest.shards`)).toContain('shards-0-1, tiny-0a1b2c3d.harvest.shards-2-3');
  expect(await lesson('tyni-0a1b2c3d')).toContain('nearest: tiny-0a1b2c3d');
  expect(await lesson('')).toContain('none that begins so');
});

test('a pause holds the queues of a stage, with tags or without, until resume', async () => {
  await world.add({ message: direct('a-00000001') });
  await world.add({ message: { ...direct('b-00000002'), tags: ['gpu'] } });
  await world.add({ message: direct('c-00000003', 'train') });
  expect(await pause(world.connection, ['probe'])).toEqual({ queues: ['probe', 'probe@gpu'], running: 0 });
  const seen = async () =>
    (await snapshot(world.connection)).map((each) => `${each.id[0]} ${each.state}`).sort();
  expect(await seen()).toEqual(['a paused', 'b paused', 'c waiting']);
  await expect(world.take('probe')).rejects.toThrow('no job');
  expect((await resume(world.connection, [])).queues).toEqual(['probe', 'probe@gpu', 'train']);
  expect(await seen()).toEqual(['a waiting', 'b waiting', 'c waiting']);
  await expect(pause(world.connection, ['trian'])).rejects.toThrow(/only: probe, probe@gpu, train/);
});

test('clean removes whole ended flows of the asked kind and age, and nothing that can go on', async () => {
  await world.add(smallFlow(FLOW));
  for (const id of ['done-00000001', 'broken-00000002', 'waits-00000003'])
    await world.add({ message: direct(id) });
  await (await world.take('probe')).complete();
  await (await world.take('probe')).fail('no such file');
  const kinds = async (filter: Parameters<typeof cleanable>[1]) =>
    cleanable(await snapshot(world.connection), filter, Date.now()).map(({ id }) => id);
  expect(await kinds({ completed: true })).toEqual(['done-00000001']);
  expect(await kinds({ failed: true })).toEqual(['broken-00000002']);
  expect(await kinds({ completed: true, failed: true, olderThan: 60_000 })).toEqual([]);
  const all = await snapshot(world.connection);
  const cleaned = await clean(world.connection, all);
  expect(cleaned.removed.sort()).toEqual(['broken-00000002', 'done-00000001']);
  expect((await snapshot(world.connection)).map(({ id }) => id).sort()).toEqual([FLOW, 'waits-00000003']);

  await (await world.take('harvest')).complete();
  await (await world.take('harvest')).fail('no such file');
  expect(await clean(world.connection, [await flow()])).toEqual({ removed: [FLOW], jobs: 5, kept: [] });
  const keys = await world.connection.client.keys(`*${FLOW}*`);
  expect(keys).toEqual([]);
});

test('follow tells of changes and ends when the flow has ended', async () => {
  await world.add({ message: direct('watched-00000001') });
  const seen: string[] = [];
  const last = follow(world.connection, ['watched-00000001'], ([only]) => seen.push(only!.state));
  const job = await world.take('probe');
  await expect.poll(() => seen.at(-1)).toBe('active');
  await job.complete({ ok: true });
  expect((await last)[0]!.roots[0]!.result).toEqual({ ok: true });
  expect(seen.at(-1)).toBe('completed');
  await expect(follow(world.connection, ['gone-00000009'], () => {})).rejects.toThrow(/it was removed/);
});

test('logs: the whole, the tail, and new lines until the job ends', async () => {
  await world.add({ message: direct('talks-00000001') });
  const taken = await world.take('probe');
  for (const line of ['one', 'two', 'three']) await taken.job.log(line);
  const { jobs } = await target('talks');
  expect((await readLogs(world.connection, jobs)).map(({ line }) => line)).toEqual(['one', 'two', 'three']);
  expect((await readLogs(world.connection, jobs, 1)).map(({ line }) => line)).toEqual(['three']);
  const heard: string[] = [];
  const say = ({ line }: LogLine) => heard.push(line);
  const signal = new AbortController().signal;
  const over = followLogs(world.connection, await target('talks'), 1, say, signal);
  await expect.poll(() => heard).toEqual(['three']);
  await taken.job.log('four');
  await taken.complete();
  await over;
  expect(heard).toEqual(['three', 'four']);
});

test('a job can be seen whole: message, folder, ancestors, children, what to do', async () => {
  await world.add(smallFlow(FLOW));
  await (await world.take('harvest')).fail('datasets/x.txt\n  expected  a file\n  found     nothing');
  const one = await target(`${FLOW}.harvest.shards-0-1`);
  const shown = await details(world.connection, { ...one, job: one.job! });
  expect(shown).toMatchObject({
    folder: 'runs/test/harvest-abababab',
    ancestors: [`${FLOW}.harvest`, `${FLOW}.train`, `${FLOW}.pipeline`],
    message: { settings: { seed: 1 } },
  });
  expect(shown.stack).toContain('datasets/x.txt');
  expect(shown.commands.map(([command]) => command)).toContain(
    `unfold jobs retry ${FLOW}.harvest.shards-0-1`,
  );
  const above = await target(`${FLOW}.train`);
  const blocked = await details(world.connection, { ...above, job: above.job! });
  expect(blocked.commands[0]![0]).toBe(`unfold jobs show ${FLOW}.harvest.shards-0-1`);
  expect(blocked.children).toEqual([{ id: `${FLOW}.harvest`, state: 'blocked' }]);
  expect(jobsOf(one.flow)).toHaveLength(5);
});

test('in a Redis whose memory is full, jobs are listed, and cleaning makes room', async () => {
  const { client } = world.connection;
  await world.add({ message: direct('done-00000001') });
  await (await world.take('probe')).complete();
  await client.config('SET', 'maxmemory', '1mb');
  try {
    await expect(client.set('x', 'y')).rejects.toThrow('OOM');
    const flows = await snapshot(world.connection);
    expect(flows).toMatchObject([{ id: 'done-00000001', state: 'completed' }]);
    expect((await clean(world.connection, flows)).removed).toEqual(['done-00000001']);
  } finally {
    await client.config('SET', 'maxmemory', '0');
  }
});
