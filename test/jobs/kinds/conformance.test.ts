/** @file What every kind of direct job keeps to, whoever wrote it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { commands } from '../../../src/cli/commands/index.ts';
import { type StageContext, silent } from '../../../src/context.ts';
import { UnfoldError } from '../../../src/errors.ts';
import { directMessage, runDirect } from '../../../src/jobs/kinds/direct.ts';
import { jobKind, kindNames } from '../../../src/jobs/kinds/index.ts';
import { MAX_RESULT_BYTES, parseSettings } from '../../../src/jobs/kinds/kind.ts';
import { jobId, parseMessage } from '../../../src/jobs/message.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { contentsOf, differences } from '../../support/same-bytes.ts';
import { HOOK, MODEL, makeWorld, names, requestFor, runSpec, TEXT, type World } from './support.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

interface Case {
  what: string;
  /** As after `unfold enqueue`, without --out. */
  flags(world: World): string[];
  /** Name of the file that --out names, for commands that write one. */
  file?: string;
  /** Paths that have to be visible. */
  reads(world: World): string[];
  /** Whether it is seen at a glance that it is done; true. */
  isSeen?: boolean;
}

const SMALL = ['--d-sae', '64', '--k', '4', '--training-tokens', '1024', '--train-batch-size-tokens', '128'];

const cases: Case[] = [
  {
    what: 'a harvest of two shards of four',
    flags: ({ harvest }) => ['harvest', '--config', harvest, '--model', MODEL, '--shards', '1..2'],
    reads: () => [MODEL, TEXT],
    isSeen: false,
  },
  {
    what: 'a coder on shards',
    flags: ({ shards }) => ['train', '--shards', shards, ...SMALL, '--set', 'checkpoint_every_steps=2'],
    reads: ({ shards }) => [shards],
  },
  {
    what: 'a coder on a live model',
    flags: () =>
      ['train', '--model', MODEL, '--dataset', TEXT, '--max-tokens', '1024', '--hook-name', HOOK].concat(
        SMALL,
      ),
    reads: () => [MODEL, TEXT],
  },
  {
    what: 'a sweep in one pass',
    flags: ({ shards, sweep }) => ['train', '--shards', shards, '--sweep', sweep],
    reads: ({ shards }) => [shards],
    isSeen: false,
  },
  {
    what: 'fine-tuning',
    flags: ({ coder }) =>
      ['finetune', '--coder', coder, '--model', MODEL, '--dataset', TEXT, '--training-tokens', '512'].concat(
        ['--train-batch-size-tokens', '128', '--eval-tokens', '256', '--set', 'measured_tokens=256'],
        ['--set', 'checkpoint_every_steps=1'],
      ),
    reads: ({ coder }) => [coder, MODEL, TEXT],
  },
  {
    what: 'an evaluation on shards',
    flags: ({ coder, shards }) => ['evaluate', '--coder', coder, '--shards', shards],
    file: 'evaluation.json',
    reads: ({ coder, shards }) => [coder, shards],
  },
  {
    what: 'an evaluation in the model',
    flags: ({ coder }) =>
      ['evaluate', '--coder', coder, '--model', MODEL, '--dataset', TEXT].concat(['--max-tokens', '512']),
    file: 'in-model.json',
    reads: ({ coder }) => [coder, MODEL, TEXT],
  },
  {
    what: 'an encoding',
    flags: ({ coder, rows }) => ['encode', '--coder', coder, '--input', rows, '--batch-rows', '8'],
    file: 'latents.safetensors',
    reads: ({ coder, rows }) => [coder, rows],
  },
  { what: 'a benchmark', flags: ({ benchmark }) => ['synth', benchmark, '--seeds', '1,2'], reads: () => [] },
  {
    what: 'toy models',
    flags: () => ['synth', '--toy', '--features', '3', '--probabilities', '1'],
    reads: () => [],
  },
  { what: 'a probe', flags: () => ['probe', '--seconds', '0.2', '--steps', '4'], reads: () => [] },
];

let dir: string;
let world: World;
beforeAll(async () => {
  await useBackend();
  dir = await mkdtemp(join(tmpdir(), 'unfold-kinds-'));
  world = await makeWorld(join(dir, 'world'));
});
afterAll(() => rm(dir, { recursive: true }));

/** A context that is stopped at the first sign of progress. */
function impatient(): StageContext {
  const controller = new AbortController();
  const update = () => controller.abort(new Error('stopped'));
  return { ...silent(controller.signal), bar: () => ({ update, finish() {} }) };
}

/** Manifests of jobs; the command writes none. And the probe's diary. */
const ofJobsOnly = (path: string) => /(^|\.)job\.json$|^starts\.log$|^probe\.json$/.test(path);

it('there is a case for every kind, and a kind for every command that can be a job', () => {
  const tried = cases.map(({ flags }) => flags(world)[0]);
  expect([...new Set(tried)].sort()).toEqual([...kindNames].sort());
  expect([...names].sort()).toEqual([...kindNames].sort());
});

describe.each(cases)('$what', ({ flags, file = '', reads, isSeen = true }) => {
  const argv = (out: string) => [...flags(world), '--out', join(dir, out, file)];
  const place = (name: string) => `${name}-${cases.findIndex((one) => one.reads === reads)}`;

  it('is a message of plain JSON with absolute paths, the same for the same work', async () => {
    const request = await requestFor(argv(place('job')));
    const message = directMessage(request, ['gpu']);
    expect(parseMessage(JSON.parse(JSON.stringify(message)), 'test')).toEqual(message);
    expect(message.out).toBe(join(dir, place('job')));
    expect(jobId(directMessage(await requestFor(argv(place('job')))))).toBe(jobId(message));
    expect(jobId(directMessage(await requestFor(argv(place('other')))))).not.toBe(jobId(message));
    expect(jobId(message)).toMatch(new RegExp(`^${request.stage}-[0-9a-f]{8}\\.${request.stage}$`));
    const kind = await jobKind(request.stage);
    const settings = parseSettings(kind, message.settings);
    // What a worker reads is what was queued: defaults are filled in once.
    expect(JSON.parse(JSON.stringify(settings))).toEqual(message.settings);
    expect(kind.visible(settings).sort()).toEqual(reads(world).sort());
    expect(kind.visible(settings).every(isAbsolute)).toBe(true);
  });

  it('refuses settings that it does not know, with their names', async () => {
    const { stage, settings } = await requestFor(argv(place('job')));
    const wrong = { ...(settings as object), kk: 1 };
    await expect(runDirect({ stage, settings: wrong }, join(dir, 'never'), silent())).rejects.toMatchObject({
      kind: 'bad-setting',
      lesson: { found: expect.stringContaining('kk') },
    });
  });

  it('writes what the command writes, also when it was stopped on the way; then it is done', async () => {
    const request = await requestFor(argv(place('job')));
    const out = join(dir, place('job'));
    await runDirect(request, out, impatient()).catch((error: Error) => {
      expect(error instanceof UnfoldError ? error.kind : error.message).toBe('stopped');
    });
    const first = await runDirect(request, out, silent());
    expect(Buffer.byteLength(JSON.stringify(first.result))).toBeLessThan(MAX_RESULT_BYTES);
    expect(JSON.parse(JSON.stringify(first.result)), 'survives JSON').toBeTruthy();
    const before = await contentsOf(out);
    expect(before.size).toBeGreaterThan(0);
    const second = await runDirect(request, out, silent());
    expect(second.skipped).toBe(true);
    const diary = (path: string) => path === 'starts.log';
    const after = await contentsOf(out);
    for (const path of before.keys()) if (!diary(path)) expect(after.get(path), path).toBe(before.get(path));
    const kind = await jobKind(request.stage);
    const settings = parseSettings(kind, request.settings);
    for (const path of after.keys()) expect(kind.owns?.(settings, path) ?? true, path).toBe(true);
    if (isSeen) expect(await kind.finished?.(settings, out)).toBe(true);
    expect((await kind.finished?.(settings, join(dir, 'nowhere'))) ?? false).toBe(false);
    const command = commands.find(({ name }) => name === request.stage);
    if (!command) return;
    await runSpec(command, argv(place('plain')).slice(1));
    expect(await differences(out, join(dir, place('plain')), ofJobsOnly)).toEqual([]);
  });
});

it('a stage that there is not is refused with those that there are', async () => {
  for (const stage of ['dictionary', 'graph', 'constructor', '__proto__']) {
    const error = await jobKind(stage).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(UnfoldError);
    expect((error as UnfoldError).lesson.expected).toContain('harvest, train, finetune');
  }
});
