/**
 * @file The same work queued twice runs once: by ids, by the files on disk, by a lock for the moment of adding; and what Redis
 * forgets, the folders know.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FlowProducer, type Job, Queue } from 'bullmq';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { silent } from '../../../src/context.ts';
import { addAllJobs, addJobs, enqueuePipeline, requeue } from '../../../src/jobs/enqueue.ts';
import { type JobTree, messagesOf, pipelineFlow } from '../../../src/jobs/flow.ts';
import { directMessage } from '../../../src/jobs/kinds/direct.ts';
import { jobId } from '../../../src/jobs/message.ts';
import { KEYS } from '../../../src/jobs/names.ts';
import { openQueue } from '../../../src/jobs/redis/open.ts';
import { runPipeline } from '../../../src/pipeline/pipeline.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { type FlowWorld, flowWorld } from './support.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let world: FlowWorld;
beforeAll(async () => {
  await useBackend();
  world = await flowWorld();
});
afterAll(() => world.close());

async function job(queue: string, id: string): Promise<Job | undefined> {
  const opened = new Queue(queue, world.queue.bullmq());
  return opened.getJob(id).finally(() => opened.close());
}

const enqueue = (name: string, more = {}) =>
  enqueuePipeline(world.tiny, { out: join(world.dir, name), ...more }, world.queue, silent());

const probe = (name: string, seconds = 1): JobTree => ({
  message: directMessage({ stage: 'probe', settings: { seconds }, out: join(world.dir, name) }),
  children: [],
});

describe('a pipeline in the queue', () => {
  it('is a chain of jobs with its options, in queues by stage and tag, that waits for the text', async () => {
    const more = { tags: ['gpu', 'train=big'], priority: 7, delay: 60_000, attempts: 5 };
    const { flow, root, state, jobs } = await enqueue('options', more);
    expect({ state, jobs }).toEqual({ state: 'queued', jobs: 6 });
    expect(root).toEqual({ queue: 'pipeline', id: `${flow}.pipeline` });
    const corpus = await job('corpus@gpu', `${flow}.corpus`);
    expect(await corpus!.getState()).toBe('delayed');
    const train = await job('train@big+gpu', `${flow}.train`);
    expect(await train!.getState()).toBe('waiting-children');
    expect(train!.opts).toMatchObject({ attempts: 5, priority: 7, backoff: { type: 'exponential' } });
    expect(await world.queue.client.smembers(KEYS.queues)).toEqual(
      expect.arrayContaining(['pipeline', 'corpus@gpu', 'train@big+gpu']),
    );
  });

  it('is added once, however many add it at the same moment', async () => {
    const others = await Promise.all([1, 2, 3, 4].map(() => openQueue(world.redis.url, silent())));
    const tree = await pipelineFlow(world.tiny, { out: join(world.dir, 'twice') });
    const states = await Promise.all(others.map((queue) => addJobs(queue, tree)));
    await Promise.all(others.map((queue) => queue.close()));
    expect(states.map(({ state }) => state).sort()).toEqual([
      ...['already queued', 'already queued', 'already queued', 'queued'],
    ]);
    expect((await enqueue('twice', { priority: 3 })).state).toBe('already queued');
  });

  it('is another flow in another folder, or with another setting', async () => {
    const one = await pipelineFlow(world.tiny, { out: join(world.dir, 'one') });
    const other = await pipelineFlow(world.tiny, { out: join(world.dir, 'other') });
    const set = await pipelineFlow(world.tiny, { out: join(world.dir, 'one'), set: ['train.k=4'] });
    expect(new Set([one, other, set].map(({ message }) => message.flow)).size).toBe(3);
    const keys = (tree: JobTree) => messagesOf(tree).map((message) => 'key' in message && message.key);
    expect(keys(one)).toEqual(keys(other));
  });

  it('is not queued when unfold run has finished it, and is again when a file is gone', async () => {
    const { out } = await runPipeline(world.tiny, { out: join(world.dir, 'finished') });
    expect((await enqueue('finished')).state).toBe('finished before');
    await rm(join(out, 'evaluate', 'evaluation.json'));
    expect((await enqueue('finished')).state).toBe('queued');
  });

  it('that failed is left to unfold jobs retry', async () => {
    const tree = probe('failed');
    const { root } = await addJobs(world.queue, tree);
    const failing = (await job(root.queue, root.id))!;
    await world.queue.client.lrem('{unfold}:probe:wait', 0, root.id);
    await world.queue.client.zadd('{unfold}:probe:failed', Date.now(), root.id);
    expect(await failing.isFailed()).toBe(true);
    expect(await addJobs(world.queue, tree)).toMatchObject({ state: 'failed before', failed: [root.id] });
  });

  it('remembers itself in its folder before it is in the queue', async () => {
    const tree = await pipelineFlow(world.tiny, { out: join(world.dir, 'remembered') });
    const producer = vi.spyOn(FlowProducer.prototype, 'add').mockRejectedValueOnce(new Error('power cut'));
    await expect(addJobs(world.queue, tree)).rejects.toThrow('power cut');
    producer.mockRestore();
    const file = join(tree.message.out, `${tree.message.flow}.queue.json`);
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ flow: tree.message.flow });
    const [again] = await requeue([tree.message.out], world.queue);
    expect(again).toMatchObject({ flow: tree.message.flow, state: 'queued' });
  });

  it('is the same work whatever tags it is queued with', async () => {
    const tree = (tags: string[]): JobTree => {
      const request = { stage: 'probe', settings: { seconds: 1 }, out: join(world.dir, 'tagged') };
      return { message: directMessage(request, tags), children: [] };
    };
    expect((await addJobs(world.queue, tree(['gpu']))).state).toBe('queued');
    expect((await addJobs(world.queue, tree([]))).state).toBe('already queued');
  });

  it('is one of a thousand that are added together, each once', async () => {
    const trees = Array.from({ length: 1000 }, (_, i) => probe(`many/${i % 500}`));
    const added = await addAllJobs(world.queue, trees);
    expect(added.filter(({ state }) => state === 'queued')).toHaveLength(500);
    expect(added.map(({ out }) => out)).toEqual(trees.map(({ message }) => message.out));
  });

  it('refuses a message that is not names and numbers any more', async () => {
    const { message } = probe('large');
    const large = { ...message, settings: { text: 'x'.repeat(300_000) } } as typeof message;
    await expect(addJobs(world.queue, { message: large, children: [] })).rejects.toMatchObject({
      kind: 'bad-job',
    });
  });

  it('names a tag or stage that is none', async () => {
    for (const tag of ['gpu!', 'trian=gpu'])
      await expect(pipelineFlow(world.tiny, { tags: [tag] })).rejects.toMatchObject({ kind: 'bad-setting' });
  });
});

describe('requeue', () => {
  it('queues what the folders say is unfinished, after Redis lost everything; finished flows are forgotten', async () => {
    const runs = join(world.dir, 'runs');
    const names = ['a', 'b/c', 'd'];
    for (const name of names) await addJobs(world.queue, probe(`runs/${name}`), { priority: 5 });
    const { flow } = await enqueue('runs/pipeline');
    const done = await pipelineFlow(world.tiny, { out: join(world.dir, 'runs', 'done') });
    await addJobs(world.queue, done);
    await world.redis.kill();
    await world.redis.restart();
    expect(await world.queue.client.dbsize()).toBe(0);
    // Finished meanwhile, by unfold run.
    const { out } = await runPipeline(world.tiny, { out: join(world.dir, 'made') });
    const file = `${done.message.flow}.queue.json`;
    await rename(join(done.message.out, file), join(world.dir, file));
    await rm(done.message.out, { recursive: true });
    await rename(out, done.message.out);
    await rename(join(world.dir, file), join(done.message.out, file));
    const again = await requeue([runs], world.queue);
    expect(again.map(({ state }) => state).sort()).toEqual(['finished before', ...Array(4).fill('queued')]);
    expect(await (await job('corpus', `${flow}.corpus`))!.getState()).toBe('waiting');
    const { root } = again.find(({ out }) => out === join(runs, 'b/c'))!;
    expect((await job(root.queue, root.id))!.opts.priority).toBe(5);
    const once = await requeue([runs], world.queue);
    expect(once.map(({ state }) => state)).toEqual(Array(4).fill('already queued'));
  });

  it('says which file is damaged, once all others are queued', async () => {
    const dir = join(world.dir, 'damaged');
    await addJobs(world.queue, probe('damaged/z'));
    await (await job('probe', jobId(probe('damaged/z').message)))!.remove();
    await writeFile(join(dir, 'x.queue.json'), '{"kind": "other"}');
    await expect(requeue([dir], world.queue)).rejects.toMatchObject({
      kind: 'bad-json',
      lesson: { where: join(dir, 'x.queue.json') },
    });
    expect(await job('probe', jobId(probe('damaged/z').message))).toBeDefined();
    await expect(requeue([join(world.dir, 'nowhere')], world.queue)).rejects.toMatchObject({
      kind: 'missing-file',
    });
  });

  it('lets the id say what the job is', async () => {
    const { message } = probe('id');
    expect(jobId(message)).toMatch(/^probe-[0-9a-f]{8}\.probe$/);
  });
});
