/** @file Children that die, fail or leak. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { JobProgress } from '../../../src/jobs/progress.ts';
import { Bench, lives, until } from './support.ts';

vi.setConfig({ testTimeout: 240_000 });

let bench: Bench;
beforeAll(async () => {
  bench = await Bench.start();
});
afterAll(() => bench.stop());

describe('a child', () => {
  it('that dies is replaced, and the job goes on where it was; as often as it may', async () => {
    const id = await bench.probe('crash', { seconds: 1, steps: 10, fail: 'crash', failures: 1 });
    const hopeless = await bench.probe(
      'hopeless',
      { seconds: 0.5, steps: 4, fail: 'crash' },
      { attempts: 2 },
    );
    const worker = await bench.worker();
    const job = await bench.hurries(id, 'completed');
    expect(job.returnvalue).toMatchObject({ completed: 1, starts: 2 });
    expect(await bench.log(id)).toMatch(/was killed by SIGKILL, perhaps out of memory/);
    const failed = await bench.hurries(hopeless, 'failed');
    expect(failed.failedReason).toMatch(/was killed by SIGKILL, perhaps out of memory/);
    expect(failed.attemptsMade).toBe(2);
    expect((failed.progress as JobProgress).failure?.kind).toBe('crash');
    expect(await bench.starts('hopeless')).toHaveLength(2);
    await worker.close();
  });

  it('that throws a fault of ours is tried again; the user’s own is not', async () => {
    const ours = await bench.probe('ours', { seconds: 0, fail: 'error', failures: 1 });
    const theirs = await bench.probe('theirs', { seconds: 0, fail: 'user' });
    const worker = await bench.worker();
    const failed = await bench.hurries(theirs, 'failed');
    expect(failed.attemptsMade).toBe(1);
    expect((failed.progress as JobProgress).failure).toMatchObject({ kind: 'bad-setting', where: 'a probe' });
    expect((await bench.hurries(ours, 'completed')).attemptsMade).toBe(2);
    await worker.close();
  });

  it('that leaks tensors ends with its job; one that does not gets the next', async () => {
    const pids: number[] = [];
    const worker = await bench.worker();
    for (const [name, fail] of [
      ['tidy', undefined],
      ['leaks', 'leak'],
      ['fresh', undefined],
    ] as const) {
      await bench.hurries(await bench.probe(name, { seconds: 0, ...(fail && { fail }) }), 'completed');
      pids.push((await bench.starts(name))[0]!.pid);
    }
    expect(pids[1]).toBe(pids[0]);
    expect(pids[2]).not.toBe(pids[1]);
    await until(async () => !(await lives(pids[1]!)), 'the child that leaked to leave', 10);
    expect(await bench.log('probe-leaks.probe')).toMatch(/8 tensors were left behind/);
    expect(worker.summary()).toMatchObject({ completed: 3, failed: 0 });
  });
});
