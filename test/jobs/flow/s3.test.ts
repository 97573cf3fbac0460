/** @file A flow whose run directory is a bucket: the same files, and nothing left to chance by copying. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { silent } from '../../../src/context.ts';
import { pipelineFlow } from '../../../src/jobs/flow.ts';
import { isFinished } from '../../../src/jobs/on-disk.ts';
import { runPipeline } from '../../../src/pipeline/pipeline.ts';
import { copyPlace } from '../../../src/storage/copy.ts';
import { storeExists } from '../../../src/storage/open.ts';
import { joinPlace } from '../../../src/storage/url.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { CREDENTIALS, startS3, type TestS3 } from '../../support/s3.ts';
import { differences } from '../../support/same-bytes.ts';
import { type FlowWorld, flowWorld, perform } from './support.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let world: FlowWorld;
let s3: TestS3;
beforeAll(async () => {
  for (const [name, value] of Object.entries(CREDENTIALS)) vi.stubEnv(name, value);
  await useBackend();
  world = await flowWorld();
  s3 = await startS3();
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await s3.stop();
  await world.close();
});

describe('a sweep into a bucket', () => {
  it('by machines that share nothing else: the files of unfold run', async () => {
    const whole = await runPipeline(world.sweep, { out: join(world.dir, 'whole') });
    const out = s3.url('runs/sweep');
    const tree = await pipelineFlow(world.sweep, { out });
    expect(await isFinished(tree)).toBe(false);
    // Every job with a scratch folder of its own, as if each ran on another machine.
    let machine = 0;
    const { done, result } = await perform(tree, () => join(world.dir, `machine-${machine++}`));
    expect(done.filter((id) => id.split('.').length > 2)).toHaveLength(8);
    expect(await isFinished(tree)).toBe(true);
    const { summary } = result.paths as Record<string, string>;
    const [, name = ''] = summary!.match(/(summary-[0-9a-f]{8}\/summary\.md)/) ?? [];
    expect(await storeExists(out, name)).toBeDefined();
    const copied = join(world.dir, 'copied');
    await copyPlace(out, copied, silent());
    // The report names the folders of the machine that wrote it.
    const beside = (path: string) => path.endsWith('summary.md') || path.endsWith('summary.json');
    expect(await differences(whole.out, copied, beside)).toEqual([]);
    expect(joinPlace(out, name)).toBe(summary);
  });
});
