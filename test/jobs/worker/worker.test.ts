/** @file What a worker takes, in which order, and what it says of itself. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { addJobs } from '../../../src/jobs/enqueue.ts';
import { KEYS, type WorkerRecord } from '../../../src/jobs/names.ts';
import type { JobProgress } from '../../../src/jobs/progress.ts';
import { served } from '../../../src/jobs/worker/queues.ts';
import type { RunningWorker } from '../../../src/jobs/worker/worker.ts';
import { Bench, lives, until } from './support.ts';

let bench: Bench;
let worker: RunningWorker | undefined;
beforeAll(async () => {
  bench = await Bench.start();
});
afterAll(() => bench.stop());
afterEach(async () => {
  await worker?.close();
  worker = undefined;
});

describe('queues', () => {
  const names = [
    'corpus',
    'harvest',
    'probe',
    'train',
    'train@gpu',
    'train@big+gpu',
    'pipeline',
    'no:thing',
    '',
  ];
  it('are looked at from the end of a flow to its beginning', () => {
    expect(served(names, { tags: ['gpu'] })).toEqual([
      'pipeline',
      'train@gpu',
      'train',
      'probe',
      'harvest',
      'corpus',
    ]);
  });
  it('of other stages, or with tags that the worker has not, are left alone', () => {
    expect(served(names, { tags: [], stages: ['train'] })).toEqual(['train']);
    expect(served(names, { tags: ['gpu', 'big'], stages: ['train'] })[0]).toBe('train@big+gpu');
  });
});

describe('a worker', () => {
  it('with --drain does what there is, in order of priority, and ends', async () => {
    await bench.queue().pause();
    const ids: string[] = [];
    for (const [name, priority] of [
      ['late', 9],
      ['early', 1],
    ] as const)
      ids.push(await bench.add('probe', bench.message(name, { seconds: 0 }), { priority }));
    await bench.queue().resume();
    worker = await bench.worker({ drain: true });
    await worker.closed;
    const [late, early] = await Promise.all(ids.map((id) => bench.job(id)));
    expect(early!.finishedOn).toBeLessThanOrEqual(late!.processedOn!);
    expect(worker.summary()).toMatchObject({ begun: 2, completed: 2 });
  });

  it('takes nothing from a paused queue, says so with --drain, and goes on when it is resumed', async () => {
    await bench.queue().pause();
    const id = await bench.probe('paused', { seconds: 0 });
    worker = await bench.worker({ drain: true });
    const said = () => bench.notes.filter((line) => line.includes('queue probe is paused'));
    await until(
      () => said().length > 0,
      () => `a word, not: ${bench.notes.join(', ')}`,
    );
    expect(said()).toEqual([
      'waits: queue probe is paused, with 1 job(s); unfold jobs resume probe lets it go on',
    ]);
    expect(worker.summary().begun).toBe(0);
    await bench.queue().resume();
    await worker.closed;
    expect(await bench.queue().getJobState(id)).toBe('completed');
  });

  it('with --drain leaves what waits for failed jobs, says so, and ends with code 1', async () => {
    const wrong = { message: bench.message('wrong', { fail: 'user', seconds: 0 }), children: [] };
    const message = bench.message('above', { seconds: 0 });
    const { root } = await addJobs(bench.connection, { message, children: [wrong] });
    const { ended, said } = await bench.workerProcess('--drain');
    expect(await ended).toBe(1);
    expect(said()).toMatch(/leaves 1 job\(s\) that wait for failed or cancelled ones/);
    expect(said()).toMatch(/0 done, 1 failed/);
    await (await bench.job(root.id)).remove({ removeChildren: true });
  });

  it('ends after as many jobs as it was told', async () => {
    const ids = [await bench.probe('one', { seconds: 0 }), await bench.probe('two', { seconds: 0 })];
    worker = await bench.worker({ maxJobs: 1 });
    await worker.closed;
    const states = await Promise.all(ids.map((id) => bench.queue().getJobState(id)));
    expect(states.sort()).toEqual(['completed', 'waiting']);
    await (await bench.job(ids[states.indexOf('waiting')] ?? '')).remove().catch(() => undefined);
  });

  it('does as many jobs at a time as it has slots, and tells of itself', async () => {
    await bench.queue().drain();
    const names = ['a', 'b', 'c'];
    const ids = await Promise.all(names.map((name) => bench.probe(name, { seconds: 3, steps: 30 })));
    worker = await bench.worker({ concurrency: 2, tags: ['gpu'] });
    const record = async (): Promise<WorkerRecord> =>
      JSON.parse((await bench.connection.client.hget(KEYS.workers, worker?.id ?? '')) ?? '{"jobs":[]}');
    await until(async () => (await record()).jobs.length === 2, 'two jobs in hand');
    const now = await bench.connection.time();
    const { seen, ...rest } = await record();
    expect(rest).toMatchObject({
      pid: process.pid,
      tags: ['gpu'],
      concurrency: 2,
      backend: 'cpu',
      stopping: false,
    });
    expect(rest.rss_bytes).toBeGreaterThan(1e8);
    expect(Math.abs(now - seen)).toBeLessThan(5000);
    const active = await bench.queue().getActive();
    const { progress } = active[0]!;
    expect(progress as JobProgress).toMatchObject({
      attempt: 1,
      worker: { id: worker.id, pid: process.pid },
    });
    for (const id of ids) await bench.reaches(id, 'completed');
    await worker.close();
    expect(await bench.connection.client.hexists(KEYS.workers, worker.id)).toBe(0);
  });

  it('stops a job that is cancelled, within seconds, and does not try it again', async () => {
    const id = await bench.probe('unwanted', { seconds: 60, steps: 600 });
    worker = await bench.worker();
    await until(async () => (await bench.starts('unwanted')).length > 0, 'the start');
    const child = (await bench.starts('unwanted'))[0]!.pid;
    await bench.connection.client.hset(KEYS.cancel, id, JSON.stringify({ by: 'ann', reason: 'too slow' }));
    const job = await bench.reaches(id, 'failed');
    expect(job.failedReason).toBe('cancelled by ann: too slow');
    expect(job.attemptsMade).toBe(1);
    await until(async () => !(await lives(child)), 'its child to leave', 10);
    const other = await bench.probe('unwanted-too', { seconds: 0 }).then(async (next) => {
      await bench.reaches(next, 'completed');
      return next;
    });
    expect(await bench.queue().getJobState(other)).toBe('completed');
  });

  it('fails a cancelled job that it meets, without beginning it', async () => {
    await bench.connection.client.hset(KEYS.cancel, 'probe-never.probe', '{"by":"bob","reason":""}');
    const id = await bench.add('probe', bench.message('never', { seconds: 0 }), {
      jobId: 'probe-never.probe',
    });
    worker = await bench.worker();
    const job = await bench.reaches(id, 'failed');
    expect(job.failedReason).toBe('cancelled by bob');
    expect(await bench.starts('never')).toEqual([]);
    await until(async () => !(await bench.connection.client.hexists(KEYS.cancel, id)), 'the request to go');
    // As bull-board and others do it, who know nothing of requests.
    await job.retry('failed');
    await bench.reaches(id, 'completed');
  });

  it('puts a job off whose folder somebody else is at, which is no attempt', async () => {
    const { lockDirectory } = await import('../../../src/lock.ts');
    const lock = await lockDirectory(bench.folder('occupied'));
    const id = await bench.probe('occupied', { seconds: 0 });
    worker = await bench.worker({ lockMilliseconds: 1000 });
    await bench.reaches(id, 'delayed');
    await lock.release();
    expect((await bench.reaches(id, 'completed')).attemptsMade).toBe(1);
    expect(await bench.log(id)).toMatch(/put off: process \d+/);
  });

  it('that cannot compute says so and takes no job', async () => {
    const id = await bench.probe('safe', { seconds: 0 });
    await expect(bench.worker({ backend: 'abacus' })).rejects.toMatchObject({ kind: 'bad-setting' });
    expect(await bench.queue().getJobState(id)).toBe('waiting');
  });
});
