/** @file Workers that are stopped, paused or killed: each job ends once, with what was done before. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Bench, lives, until } from './support.ts';

vi.setConfig({ testTimeout: 240_000 });

let bench: Bench;
beforeEach(async () => {
  bench = await Bench.start({ aof: true });
});
afterEach(() => bench.stop());

describe('kill -9 of a worker', () => {
  it('takes its child with it within seconds; another worker goes on where that was', async () => {
    const id = await bench.probe('killed', { seconds: 3, steps: 30 });
    const lost = await bench.workerProcess();
    const child = await bench.childAt('killed', 5);
    lost.process.kill('SIGKILL');
    const begun = Date.now();
    await until(async () => !(await lives(child)), 'the child to leave', 10);
    expect(Date.now() - begun).toBeLessThan(5000);
    await bench.worker();
    const job = await bench.reaches(id, 'completed');
    expect(job.returnvalue).toMatchObject({ completed: 1, starts: 2 });
    expect(job.attemptsMade).toBe(1);
    expect((await bench.starts('killed')).find(({ event }) => event === 'resume')?.step).toBeGreaterThan(4);
    expect(await bench.log(id)).toMatch(/taken back from a worker that was lost/);
  });
});

describe('SIGSTOP of a worker for longer than its lock lasts', () => {
  it.each([false, true])('never has two children at the job (busy: %s)', async (busy) => {
    // One long step if busy: the child does not look up before its lease is over.
    const id = await bench.probe('paused', { seconds: 4, steps: busy ? 1 : 20, busy });
    const paused = await bench.workerProcess();
    await until(async () => (await bench.starts('paused')).length > 0, 'the start');
    const child = (await bench.starts('paused'))[0]!.pid;
    paused.process.kill('SIGSTOP');
    const other = await bench.worker();
    await until(async () => (await bench.starts('paused')).length > 1, 'the other to begin');
    expect(await lives(child)).toBe(false);
    paused.process.kill('SIGCONT');
    const job = await bench.reaches(id, 'completed');
    expect(await bench.result('paused')).toMatchObject({ completed: 1, starts: 2 });
    expect(other.summary().completed).toBe(1);
    expect(job.attemptsMade).toBe(1);
    // The one that slept is well, and does the next.
    await other.close();
    await bench.reaches(await bench.probe('next', { seconds: 0 }), 'completed');
    expect((await bench.starts('paused')).filter(({ event }) => event === 'end')).toHaveLength(1);
  });
});

describe('SIGTERM of a worker', () => {
  it('hands the job back with a checkpoint, as no attempt, and exits with 0', async () => {
    const id = await bench.probe('handed', { seconds: 3, steps: 30 });
    const worker = await bench.workerProcess();
    await bench.childAt('handed', 5);
    worker.process.kill('SIGTERM');
    expect(await worker.ended).toBe(0);
    const job = await bench.job(id);
    expect(await job.getState()).toBe('waiting');
    expect(job.attemptsMade).toBe(0);
    expect(worker.said()).toMatch(/1 handed back/);
    await bench.worker();
    expect((await bench.reaches(id, 'completed')).returnvalue).toMatchObject({ completed: 1, starts: 2 });
    expect((await bench.starts('handed')).find(({ event }) => event === 'resume')?.step).toBeGreaterThan(4);
  });

  it('after the deadline kills the child and hands the job back all the same', async () => {
    const id = await bench.probe('stubborn', { seconds: 20, steps: 1, busy: true });
    const worker = await bench.workerProcess('--deadline', '1');
    await until(async () => (await bench.starts('stubborn')).length > 0, 'the start');
    worker.process.kill('SIGTERM');
    expect(await worker.ended).toBe(0);
    expect(await bench.queue().getJobState(id)).toBe('waiting');
    expect(await lives((await bench.starts('stubborn'))[0]!.pid)).toBe(false);
  });
});
