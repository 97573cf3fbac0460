/** @file A job runs once however short its lock and however busy its process: the pitfall of BullMQ that matters here. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Bench } from './support.ts';

vi.setConfig({ testTimeout: 240_000 });

let bench: Bench;
beforeAll(async () => {
  bench = await Bench.start();
});
afterAll(() => bench.stop());

describe('a lock of two seconds and a job that is busy for twenty', () => {
  it('runs once while another worker looks for jobs of lost ones', async () => {
    const id = await bench.probe('busy', { seconds: 20, steps: 1, busy: true });
    const first = await bench.worker();
    const second = await bench.worker();
    const job = await bench.reaches(id, 'completed');
    expect(job.returnvalue).toMatchObject({ completed: 1, starts: 1 });
    expect(await bench.events('stalled')).toEqual([]);
    expect((await bench.starts('busy')).map(({ event }) => event)).toEqual(['start', 'end']);
    expect(first.summary().completed + second.summary().completed).toBe(1);
    expect(job.attemptsStarted).toBe(1);
    await Promise.all([first.close(), second.close()]);
  });
});
