/** @file A flow into a bucket, done by real workers with nothing else in common, one of them killed half-way. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { silent } from '../../../src/context.ts';
import { enqueuePipeline } from '../../../src/jobs/enqueue.ts';
import { follow } from '../../../src/jobs/watch/follow.ts';
import { snapshot } from '../../../src/jobs/watch/snapshot.ts';
import { jobsOf } from '../../../src/jobs/watch/view.ts';
import { runPipeline } from '../../../src/pipeline/pipeline.ts';
import { copyPlace } from '../../../src/storage/copy.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { CREDENTIALS, startS3, type TestS3 } from '../../support/s3.ts';
import { differences } from '../../support/same-bytes.ts';
import { FaultWorld } from '../faults/world.ts';
import { type FlowWorld, flowWorld } from './support.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let files: FlowWorld;
let world: FaultWorld;
let s3: TestS3;
beforeAll(async () => {
  for (const [name, value] of Object.entries(CREDENTIALS)) vi.stubEnv(name, value);
  await useBackend();
  files = await flowWorld();
  world = await FaultWorld.open();
  s3 = await startS3();
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await world.close();
  await s3.stop();
  await files.close();
});

/** The process that has a job of the stage in hand. */
async function workerAt(flow: string, stage: string): Promise<number> {
  for (;;) {
    const jobs = (await snapshot(world.connection, { flow })).flatMap(jobsOf);
    const busy = jobs.find((job) => job.stage === stage && job.state === 'active' && job.progress?.worker);
    if (busy) return busy.progress!.worker!.pid;
    await sleep(20);
  }
}

describe('two workers with a scratch folder each, and a bucket', () => {
  it('make the files of unfold run, though the one that trains is killed', async () => {
    // Long enough to be killed in.
    const set = ['train.training_tokens=40000', 'train.d_sae=512'];
    const whole = await runPipeline(files.tiny, { out: join(files.dir, 'whole'), set });
    const out = s3.url('runs/killed');
    const { flow } = await enqueuePipeline(files.tiny, { out, set }, world.connection, silent());
    const roots = [s3.url('runs')];
    const workers = [0, 1].map((i) => world.worker({ roots, scratch: join(files.dir, `machine-${i}`) }));
    const pid = await workerAt(flow, 'train');
    await workers.find((worker) => worker.pid === pid)!.kill();
    const [view] = await follow(world.connection, [flow], () => {});
    expect(view!.state).toBe('completed');
    const [train] = jobsOf(view!).filter(({ stage }) => stage === 'train');
    expect(train!.progress!.worker!.pid).not.toBe(pid);
    const copied = join(files.dir, 'copied');
    await copyPlace(out, copied, silent());
    // The report begins with how the run is fetched, and names the folder it is fetched to.
    const report = (path: string) => /^summary-[^/]*\/summary\.(md|json)$/.test(path);
    expect(await differences(whole.out, copied, report)).toEqual([]);
    const text = await readFile(join(copied, 'summary/summary.md'), 'utf8');
    expect(text).toContain(`unfold copy '${out}' runs/killed\n`);
    expect(text).toContain('--coder runs/killed/train/run/final');
    expect(text).not.toContain('machine-');
  });
});
