import { Worker } from 'bullmq';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KEYS, type WorkerRecord } from '../../src/jobs/names.ts';
import { MOST_ACTIVE } from '../../src/server/metrics/jobs.ts';
import type { RunningServer } from '../../src/server/server.ts';
import { workerEndpoints } from '../../src/server/worker-endpoints.ts';
import { parseMetrics } from './metrics-text.ts';
import { getText, stageMessage, type TestWorld, testWorld } from './world.ts';

let world: TestWorld;
let server: RunningServer;
beforeAll(async () => {
  world = await testWorld();
  server = await world.serve();
});
afterAll(() => world.close());

const scrape = async () => parseMetrics(await getText(server, '/metrics'));
const STATES = {
  waiting: ['wait', 'prioritized'],
  active: ['active'],
  delayed: ['delayed'],
  failed: ['failed'],
} as const;

function record(more: Partial<WorkerRecord> = {}): WorkerRecord {
  return {
    ...{ id: 'w-1', host: 'node"1\\\n', pid: 7, unfold: '0.1.0', stages: [], tags: [], concurrency: 3 },
    ...{ backend: 'native', jobs: ['a', 'b'], rss_bytes: 123_456, completed: 5, failed: 1, stopping: false },
    ...{ seen: 0, started: 1_700_000_000_000, ...more },
  };
}

describe('/metrics', () => {
  it('agrees with the queues, state by state', async () => {
    for (const [index, options] of [{}, {}, { priority: 3 }, { delay: 60_000 }].entries()) {
      const { data, id } = stageMessage('harvest', { flow: `m-${index}` });
      await world.add('harvest@big+gpu', data, { jobId: id, ...options });
    }
    const failing = new Worker('harvest', () => Promise.reject(new Error('no')), world.connection.bullmq());
    const failed = new Promise((resolve) => failing.once('failed', resolve));
    await world.add('harvest', stageMessage('harvest').data, { jobId: 'f-1.harvest' });
    await failed;
    await failing.close();
    await world.queue('harvest').pause();
    const metrics = await scrape();
    for (const [name, tags] of [
      ['harvest', ''],
      ['harvest@big+gpu', 'big+gpu'],
    ] as const) {
      const counts = await world.queue(name).getJobCounts();
      for (const [state, sets] of Object.entries(STATES)) {
        const expected = sets.reduce((sum, set) => sum + (counts[set === 'wait' ? 'waiting' : set] ?? 0), 0);
        expect(metrics.value('unfold_jobs', { stage: 'harvest', tags, state }), `${name} ${state}`).toBe(
          expected,
        );
      }
    }
    expect(metrics.value('unfold_jobs', { tags: 'big+gpu', state: 'waiting' })).toBe(3);
    expect(metrics.value('unfold_jobs', { tags: '', state: 'failed' })).toBe(1);
    expect(metrics.value('unfold_queue_paused', { tags: '' })).toBe(1);
    expect(metrics.value('unfold_queue_paused', { tags: 'big+gpu' })).toBe(0);
  });

  it('tells rate, loss, L0 and time left of a job while it runs, and no longer', async () => {
    const { data, id } = stageMessage('train', { flow: 'run-1' });
    await world.add('train', data, { jobId: id });
    const holder = new Worker('train', null, { ...world.connection.bullmq(), autorun: false });
    const job = (await holder.getNextJob('token', { block: false }))!;
    await job.updateProgress({
      ...{ done: 30, total: 120, unit: 'tokens', rate: 1500.5, eta: 60 },
      ...{ facts: { loss: 0.125, l0: 31.5, explained_variance: 0.9, other: 1 }, memory: { rss_bytes: 1e9 } },
    });
    const labels = { flow: 'run-1', stage: 'train', job: id };
    const metrics = await scrape();
    expect(metrics.value('unfold_job_tokens_per_second', labels)).toBe(1500.5);
    expect(metrics.value('unfold_job_rate', { ...labels, unit: 'tokens' })).toBe(1500.5);
    expect(metrics.value('unfold_job_loss', labels)).toBe(0.125);
    expect(metrics.value('unfold_job_l0', labels)).toBe(31.5);
    expect(metrics.value('unfold_job_explained_variance', labels)).toBe(0.9);
    expect(metrics.value('unfold_job_progress_ratio', labels)).toBe(0.25);
    expect(metrics.value('unfold_job_eta_seconds', labels)).toBe(60);
    await job.moveToCompleted({}, 'token', false);
    await holder.close();
    expect((await scrape()).samples.filter((sample) => sample.labels.job)).toEqual([]);
  });

  it('tells of workers, by escaped names, and passes over garbage', async () => {
    const seen = await world.connection.time();
    const { client } = world.connection;
    await client.hset(KEYS.workers, 'w-1', JSON.stringify(record({ seen })), 'bad', '{', 'worse', '{"id":3}');
    const metrics = await scrape();
    const labels = { worker: 'w-1', host: 'node"1\\\n' };
    expect(metrics.value('unfold_worker_rss_bytes', labels)).toBe(123_456);
    expect(metrics.value('unfold_worker_slots', labels)).toBe(3);
    expect(metrics.value('unfold_worker_busy_slots', labels)).toBe(2);
    expect(metrics.value('unfold_worker_jobs_completed_total', labels)).toBe(5);
    expect(metrics.value('unfold_worker_jobs_failed_total', labels)).toBe(1);
    expect(metrics.types.get('unfold_worker_jobs_completed_total')).toBe('counter');
    expect(metrics.types.get('unfold_worker_rss_bytes')).toBe('gauge');
  });

  it('tells of Redis and of its own process, with the right content type', async () => {
    const answer = await fetch(new URL('/metrics', server.url));
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const metrics = parseMetrics(await answer.text());
    expect(metrics.value('unfold_redis_up')).toBe(1);
    expect(metrics.value('unfold_redis_memory_used_bytes')).toBeGreaterThan(100_000);
    expect(metrics.value('process_resident_memory_bytes')).toBeGreaterThan(1e7);
    expect(metrics.value('unfold_info')).toBe(1);
  });

  it('has at most so many series of jobs, however many run', async () => {
    const { client } = world.connection;
    const text = JSON.stringify(stageMessage('evaluate').data);
    const pipeline = client.pipeline().sadd(KEYS.queues, 'evaluate');
    for (let index = 0; index < MOST_ACTIVE + 50; index++) {
      pipeline
        .lpush('{unfold}:evaluate:active', `e.${index}`)
        .hset(`{unfold}:evaluate:e.${index}`, 'data', text);
    }
    await pipeline.exec();
    const metrics = await scrape();
    expect(metrics.value('unfold_jobs', { stage: 'evaluate', state: 'active' })).toBe(MOST_ACTIVE + 50);
    expect(metrics.samples.filter(({ name }) => name === 'unfold_job_progress_ratio')).toHaveLength(
      MOST_ACTIVE,
    );
    await world.queue('evaluate').obliterate({ force: true });
  });

  it('survives keys of the wrong type', async () => {
    const { client } = world.connection;
    await client.sadd(KEYS.queues, 'odd', 'no:queue', '');
    await client.set('{unfold}:odd:wait', 'x');
    await client.set('{unfold}:odd:active', 'x');
    const metrics = await scrape();
    expect(metrics.value('unfold_jobs', { stage: 'odd', state: 'failed' })).toBe(0);
    expect(metrics.value('unfold_jobs', { stage: 'odd', state: 'active' })).toBeUndefined();
    await client.del('{unfold}:odd:wait', '{unfold}:odd:active');
    await client.srem(KEYS.queues, 'odd', 'no:queue', '');
  });

  it('answers within a second while Redis hangs, and says so', async () => {
    await world.redis.kill('SIGSTOP');
    const began = performance.now();
    const metrics = await scrape();
    expect(performance.now() - began).toBeLessThan(1000);
    expect(metrics.value('unfold_redis_up')).toBe(0);
    expect(metrics.value('unfold_jobs', { tags: '', state: 'failed' })).toBeUndefined();
    expect(metrics.value('process_resident_memory_bytes')).toBeGreaterThan(1e7);
    await world.redis.kill('SIGCONT');
    await expect.poll(async () => (await scrape()).value('unfold_redis_up'), { timeout: 10_000 }).toBe(1);
  });
});

describe('a worker’s own port', () => {
  it('gives its health, its readiness and its numbers', async () => {
    let stopping = false;
    const worker = { connection: world.connection, record: () => record({ stopping }) };
    const endpoints = await workerEndpoints(worker, { port: 0 });
    const ask = (path: string) => fetch(new URL(path, endpoints.url));
    expect([(await ask('health')).status, (await ask('ready')).status]).toEqual([200, 200]);
    const metrics = parseMetrics(await (await ask('metrics')).text());
    expect(metrics.value('unfold_worker_busy_slots', { worker: 'w-1' })).toBe(2);
    expect(metrics.value('unfold_redis_up')).toBe(1);
    stopping = true;
    expect([(await ask('health')).status, (await ask('ready')).status]).toEqual([200, 503]);
    await endpoints.close();
    await expect(ask('health')).rejects.toThrow();
  });
});
