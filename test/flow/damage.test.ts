/**
 * @file A finished run and a stopped one, each file damaged in turn: `verify` names it, and the same run again ends with the
 * bytes that were there before, or names the file. Nothing passes in silence.
 */
import { cp, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type StageContext, silent } from '../../src/context.ts';
import { UnfoldError } from '../../src/errors.ts';
import { runPipeline } from '../../src/pipeline/pipeline.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import { verify } from '../../src/verify/verify.ts';
import { differences } from '../support/same-bytes.ts';

vi.setConfig({ testTimeout: process.env.UNFOLD_DAMAGES ? 3_600_000 : 240_000, hookTimeout: 240_000 });

const PIPELINE = `
name: tiny
model: checkpoints/novels-4l
text: {dataset: datasets/novels-heldout, pool_tokens: 10000, max_tokens: 2048, context_size: 32}
harvest: {hook_names: [blocks.0.hook_resid_pre], shard_rows: 1024, batch_contexts: 16}
train: {d_sae: 64, training_tokens: 2048, train_batch_size_tokens: 256, lr: 0.004, k: 4, checkpoint_every_steps: 3, log_every_steps: 2}
evaluate: {text: {dataset: datasets/novels-heldout, pool_tokens: 10000, skip_contexts: 70, max_tokens: 512, context_size: 32}}
summary: {text: {dataset: datasets/novels-heldout, pool_tokens: 10000, skip_contexts: 70, max_tokens: 512, context_size: 32}, features: 2, examples: 1}
`;

let scratch: string;
let file: string;
beforeAll(async () => {
  await useBackend('auto');
  scratch = await mkdtemp(join(tmpdir(), 'unfold-damage-'));
  file = join(scratch, 'tiny.yaml');
  await writeFile(file, PIPELINE);
});
afterAll(() => rm(scratch, { recursive: true }));

/** What is done to a file: a bit turned over in its middle, its second half gone, all of it zeroes, itself gone. */
const WAYS: Record<string, (path: string) => Promise<void>> = {
  async flipped(path) {
    const bytes = await readFile(path);
    const at = Math.floor(bytes.length / 2);
    bytes[at] = bytes[at]! ^ 1;
    await writeFile(path, bytes);
  },
  async truncated(path) {
    await writeFile(path, (await readFile(path)).subarray(0, Math.floor((await stat(path)).size / 2)));
  },
  async zeroed(path) {
    await writeFile(path, Buffer.alloc((await stat(path)).size));
  },
  deleted: (path) => rm(path),
};

/** Runs the pipeline in `out`; the warnings, or the error's words. */
async function run(out: string, stopAt = Number.POSITIVE_INFINITY): Promise<string[]> {
  const said: string[] = [];
  const controller = new AbortController();
  const context: StageContext = {
    ...silent(controller.signal),
    warn: (message) => said.push(message),
    bar: (label) => ({
      update: (done) =>
        void (label === 'train' && done >= stopAt && controller.abort(new Error('stopped here'))),
      finish() {},
    }),
  };
  await runPipeline(file, { out, set: [] }, context).catch((error: unknown) => {
    if (error instanceof UnfoldError) said.push(error.message);
    else if ((error as Error).message !== 'stopped here') throw error;
  });
  return said;
}

/** Files of a run by their real names: links are left out. */
async function filesOf(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .sort();
}

/** All files in all ways with UNFOLD_DAMAGES=all; else every file in one of the ways, and every third of them run again. */
const isAll = process.env.UNFOLD_DAMAGES === 'all';
const ways = Object.keys(WAYS);

/** A copy of `from` in which one file is damaged. */
async function damagedCopy(from: string, name: string, way: string): Promise<string> {
  const out = join(scratch, 'run');
  await rm(out, { recursive: true, force: true });
  await cp(from, out, { recursive: true, verbatimSymlinks: true });
  await WAYS[way]!(join(out, name));
  return out;
}

describe('a run of which one file is damaged', () => {
  let finished: string;
  let stopped: string;
  beforeAll(async () => {
    // Reports name the folder, so all of them are made in the same one.
    const out = join(scratch, 'run');
    finished = join(scratch, 'finished');
    expect(await run(out)).toEqual([]);
    await rename(out, finished);
    stopped = join(scratch, 'stopped');
    await run(out, 1500);
    await rename(out, stopped);
  });

  it('has a hash of every file, and nothing that is not its result', async () => {
    expect(await verify([finished], silent())).toMatchObject({ ok: true, unlisted: [], passing: [] });
    expect(await verify([stopped], silent())).toMatchObject({ ok: true });
  });

  it('is named by verify, whatever the file and the damage', async () => {
    for (const name of await filesOf(finished)) {
      for (const way of ways) {
        const path = join(finished, name);
        const before = await readFile(path);
        await WAYS[way]!(path);
        const { ok, damaged } = await verify([finished], silent());
        await writeFile(path, before);
        // A seal vouches for a stage.json; that there was one, nothing does.
        if (way === 'deleted' && /stage\.json$/.test(name)) continue;
        expect([name, way, ok]).toEqual([name, way, false]);
        expect(damaged.some(({ path }) => path.includes(name.split('/').at(-1)!))).toBe(true);
      }
    }
  });

  const rerun = async (from: string) => {
    const names = await filesOf(from);
    for (const [i, name] of names.entries()) {
      for (const [j, way] of ways.entries()) {
        if (!isAll && (i % 4 !== j || i % 3 !== 0)) continue;
        const out = await damagedCopy(from, name, way);
        const said = await run(out);
        const ended = join(scratch, 'ended');
        await rm(ended, { recursive: true, force: true });
        await rename(out, ended);
        const differing = await differences(ended, finished);
        const isNamed = said.some((words) => words.includes(name.split('/').at(-1)!));
        const mustBeNamed = name.includes('checkpoints/') && from === finished;
        if (process.env.UNFOLD_DAMAGES) console.log(JSON.stringify([name, way, differing, said]));
        expect
          .soft([name, way, differing.length === 0 || isNamed, !mustBeNamed || isNamed])
          .toEqual([name, way, true, true]);
      }
    }
  };

  it('finished, is made again to the same bytes, or says what is wrong', () => rerun(finished));
  it('stopped, goes on to the same bytes, or says what is wrong', () => rerun(stopped));
});
