/** @file A job runs once however short its lock and however busy its process: the pitfall of BullMQ that matters here. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Queue } from 'bullmq';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Bench, until } from './support.ts';

vi.setConfig({ testTimeout: 240_000 });

const PLAIN = fileURLToPath(new URL('../../support/plain-worker.mjs', import.meta.url));

let bench: Bench;
beforeAll(async () => {
  bench = await Bench.start();
});
afterAll(() => bench.stop());

describe('BullMQ whose worker computes in its own process', () => {
  it('runs a job twice that is busy for six seconds, with a lock of two', async () => {
    const queue = new Queue('plain', { connection: { path: socket() } });
    const workers = [plainWorker(), plainWorker()];
    try {
      for (const { said } of workers) await until(() => said().includes('ready'), 'a plain worker');
      await queue.add('train', {});
      const begun = () => workers.map(({ said }) => said().split('begun').length - 1);
      await until(() => begun().every((count) => count === 1), 'both to be at the same job', 60);
    } finally {
      for (const { process } of workers) process.kill('SIGKILL');
      await queue.close();
    }
  });
});

const socket = () => new URL(bench.redis.socketUrl).pathname;

function plainWorker(): { process: ChildProcess; said(): string } {
  const place = [socket(), 'plain', '2000', '6000'];
  const process = spawn(globalThis.process.execPath, [PLAIN, ...place], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  process.stdout.on('data', (part: Buffer) => (text += part));
  return { process, said: () => text };
}

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
