/** @file A worker whose Redis goes away and comes back: each job ends once, with what was done before. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Bench, lives, until } from './support.ts';

vi.setConfig({ testTimeout: 240_000 });

let bench: Bench;
beforeEach(async () => {
  bench = await Bench.start({ aof: true });
});
afterEach(() => bench.stop());

describe('Redis', () => {
  it('killed and back (AOF) within the lock’s time: the job goes on as if nothing were', async () => {
    const id = await bench.probe('short', { seconds: 4, steps: 20 });
    await bench.worker({ lockMilliseconds: 20_000 });
    await bench.childAt('short', 3);
    await bench.redis.kill();
    await bench.redis.restart();
    expect((await bench.reaches(id, 'completed')).returnvalue).toMatchObject({ completed: 1, starts: 1 });
  });

  it('away for longer than the lock lasts: the child stops with a checkpoint, and the job goes on when it is back', async () => {
    const id = await bench.probe('long', { seconds: 4, steps: 20 });
    await bench.worker();
    const child = await bench.childAt('long', 3);
    await bench.redis.kill();
    await until(async () => !(await lives(child)), 'the child to leave', 10);
    await bench.redis.restart();
    const job = await bench.reaches(id, 'completed');
    expect(job.returnvalue).toMatchObject({ completed: 1, starts: 2 });
    expect(job.attemptsMade).toBe(1);
  });

  it('away while the work ends: the next attempt finds it finished', async () => {
    const id = await bench.probe('ending', { seconds: 2, steps: 10 });
    await bench.worker({ lockMilliseconds: 4000 });
    await bench.childAt('ending', 3);
    await bench.redis.kill();
    await until(async () => (await bench.starts('ending')).some(({ event }) => event === 'end'), 'the end');
    await new Promise((resolve) => setTimeout(resolve, 5000));
    await bench.redis.restart();
    await bench.reaches(id, 'completed');
    expect(await bench.result('ending')).toMatchObject({ completed: 1, starts: 1 });
  });
});
