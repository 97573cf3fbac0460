/**
 * @file What a message does, without a queue: a flow's messages run one by one, parts before what they are parts of, end with
 * the bytes of `unfold run`; and what a machine does not see, or sees otherwise, is refused before anything is made.
 */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { silent } from '../../../src/context.ts';
import { executeJob } from '../../../src/jobs/execute.ts';
import { type JobTree, messagesOf, pipelineFlow } from '../../../src/jobs/flow.ts';
import type { StageJob } from '../../../src/jobs/message.ts';
import { lockDirectory } from '../../../src/lock.ts';
import { runPipeline } from '../../../src/pipeline/pipeline.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { differences } from '../../support/same-bytes.ts';
import { type FlowWorld, flowWorld, perform } from './support.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let world: FlowWorld;
let scratch: string;
beforeAll(async () => {
  await useBackend();
  world = await flowWorld();
  scratch = join(world.dir, 'scratch');
});
afterAll(() => world.close());

const stageOf = (tree: JobTree, name: string) =>
  messagesOf(tree).find(({ stage }) => stage === name) as StageJob;

describe('a pipeline as messages', () => {
  it('ends with the bytes of unfold run, and with what it prints; done again, it does nothing', async () => {
    const whole = await runPipeline(world.tiny, { out: join(world.dir, 'whole') });
    const out = join(world.dir, 'messages');
    const tree = await pipelineFlow(world.tiny, { out });
    const { done, result } = await perform(tree, scratch);
    const flow = tree.message.flow;
    expect(flow).toMatch(/^tiny-[0-9a-f]{8}$/);
    expect(done.map((id) => id.slice(flow.length + 1))).toEqual([
      ...['corpus', 'harvest.shard-3', 'harvest.shard-2', 'harvest.shard-1', 'harvest.shard-0', 'harvest'],
      ...['train', 'evaluate', 'summary', 'pipeline'],
    ]);
    expect(await differences(whole.out, out)).toEqual([]);
    expect(result).toMatchObject({ pipeline: 'tiny', out, ...whole.metrics });
    const outcomes = await Promise.all(
      messagesOf(tree).map((message) => executeJob(message, { scratch }, silent())),
    );
    expect(outcomes.slice(1).every((outcome) => outcome.type === 'done' && outcome.skipped)).toBe(true);
  });

  it('shares a sweep and its evaluation out by coders, with the bytes of the sweep in one pass', async () => {
    const whole = await runPipeline(world.sweep, { out: join(world.dir, 'sweep-whole') });
    const out = join(world.dir, 'sweep-messages');
    const tree = await pipelineFlow(world.sweep, { out, parts: 2 });
    const { done } = await perform(tree, scratch);
    const parts = done.map((id) => id.slice(tree.message.flow.length + 1)).filter((id) => id.includes('.'));
    expect(parts).toEqual([
      ...['harvest.shard-1', 'harvest.shard-0'],
      ...['train.relu_2', 'train.first-and-1-more', 'evaluate.relu_2', 'evaluate.first-and-1-more'],
    ]);
    expect(await differences(whole.out, out)).toEqual([]);
  });

  it('says which path is not visible on which host', async () => {
    const tree = await pipelineFlow(world.tiny, { out: join(world.dir, 'unseen') });
    const corpus = stageOf(tree, 'corpus');
    const nowhere = join(world.dir, 'not-mounted', 'run');
    await expect(executeJob({ ...corpus, out: nowhere }, { scratch }, silent())).rejects.toMatchObject({
      kind: 'not-visible',
      lesson: { where: nowhere, found: expect.stringContaining(hostname()) },
    });
    await mkdir(corpus.out, { recursive: true });
    const model = join(world.dir, 'no-model');
    const settings = { ...(corpus.settings as object), model } as StageJob['settings'];
    await expect(executeJob({ ...corpus, settings }, { scratch }, silent())).rejects.toMatchObject({
      kind: 'not-visible',
      lesson: { where: model },
    });
    const train = stageOf(tree, 'train');
    await expect(executeJob(train, { scratch }, silent())).rejects.toMatchObject({
      kind: 'not-visible',
      lesson: { where: expect.stringMatching(/unseen\/harvest-[0-9a-f]{8}\/stage\.json$/) },
    });
  });

  it('refuses to work on another file behind the same path, and says what differs', async () => {
    const text = join(world.dir, 'text.txt');
    await writeFile(text, 'The sea was calm that day. '.repeat(2000));
    const set = [`text.dataset=${text}`, 'text.pool_tokens=null'];
    const out = join(world.dir, 'differs');
    const corpus = stageOf(await pipelineFlow(world.tiny, { out, set }), 'corpus');
    await mkdir(out, { recursive: true });
    await writeFile(text, 'The sea was rough that day. '.repeat(2000));
    await expect(executeJob(corpus, { scratch }, silent())).rejects.toMatchObject({
      kind: 'input-differs',
      lesson: { where: expect.stringContaining(text), found: expect.stringContaining('dataset is') },
    });
    expect((await readdir(out)).filter((name) => name.startsWith('corpus'))).toEqual([]);
  });

  it('does nothing while another process has the stage’s folder: busy, to be tried again', async () => {
    const out = join(world.dir, 'busy');
    const corpus = stageOf(await pipelineFlow(world.tiny, { out }), 'corpus');
    await mkdir(out, { recursive: true });
    const lock = await lockDirectory(join(out, `corpus-${corpus.key.slice(0, 8)}`));
    await expect(executeJob(corpus, { scratch }, silent())).rejects.toMatchObject({ kind: 'busy' });
    await lock.release();
    expect(await executeJob(corpus, { scratch }, silent())).toMatchObject({ type: 'done', skipped: false });
  });

  it('refuses messages that were not made by this version: unknown stages, settings, keys, parts', async () => {
    const out = join(world.dir, 'refused');
    await mkdir(out, { recursive: true });
    const corpus = stageOf(await pipelineFlow(world.tiny, { out }), 'corpus');
    const wrong: StageJob[] = [
      { ...corpus, stage: 'constructor' },
      { ...corpus, version: 99 },
      { ...corpus, settings: { model: 3 } },
      { ...corpus, out: 'relative/path' },
      { ...corpus, part: { name: 'x', of: 1 } },
      { ...corpus, key: 'a'.repeat(64) },
    ];
    for (const message of wrong)
      await expect(executeJob(message, { scratch }, silent())).rejects.toMatchObject({ kind: 'bad-job' });
    await rm(out, { recursive: true });
  });
});
