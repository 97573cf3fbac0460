/** @file Stages at work on an object store, on two machines (two scratch folders), stopped, killed and run again. */
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import {
  readStoredJson,
  removeStored,
  storeExists,
  storeOf,
  writeStoredJson,
} from '../../src/storage/open.ts';
import { type Workspace, type WorkspaceOptions, withWorkspace } from '../../src/storage/workspace.ts';
import { guardWrites } from '../../src/write-guard.ts';
import { listOf } from '../suites/artifact-store.ts';
import { CREDENTIALS, startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
let root: string;
let count = 0;
let out: string;
beforeAll(async () => {
  Object.assign(process.env, CREDENTIALS, {
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  });
  s3 = await startS3();
  root = await mkdtemp(join(tmpdir(), 'unfold-work-'));
});
afterAll(async () => {
  await s3.stop();
  await rm(root, { recursive: true, force: true });
});
beforeEach(() => {
  s3.harm(undefined);
  out = s3.url(`run-${++count}`);
});

const write = async (dir: string, name: string, text: string) => {
  await mkdir(join(dir, name, '..'), { recursive: true });
  await writeFile(join(dir, name), text);
};
const names = async (prefix?: string) => (await listOf(await storeOf(out), prefix)).map(({ name }) => name);
const machine = (name: string) => join(root, `${count}-${name}`);
const on = <T>(
  name: string,
  use: (workspace: Workspace) => Promise<T>,
  options: Partial<WorkspaceOptions> = {},
  signal?: AbortSignal,
) => withWorkspace({ out, dir: 'train-00000001', scratch: machine(name), ...options }, silent(signal), use);

/** A training: a log that grows, a checkpoint that replaces the one before. */
async function steps(dir: string, from: number, to: number): Promise<void> {
  for (let step = from + 1; step <= to; step++) {
    await mkdir(join(dir, 'checkpoints'), { recursive: true });
    await appendFile(join(dir, 'metrics.jsonl'), `${step}\n`);
    await write(dir, `checkpoints/step-${step}/weights`, `weights of ${step}`);
    await write(dir, `checkpoints/step-${step}/state.json`, `${step}`);
    await rm(join(dir, `checkpoints/step-${step - 1}`), { recursive: true, force: true });
  }
}
const newest = async (dir: string) =>
  Number((await readdir(join(dir, 'checkpoints')).catch(() => ['step-0']))[0]?.slice(5));

test('a path is worked on in place', async () => {
  const local = join(root, 'local');
  const seen = await withWorkspace(
    { out: local, dir: 'train-1', inputs: ['harvest-1'], scratch: '/nowhere' },
    silent(),
    async (workspace) => workspace,
  );
  expect(seen).toEqual({
    out: local,
    dir: join(local, 'train-1'),
    inputs: { 'harvest-1': join(local, 'harvest-1') },
  });
});

test('what a stage wrote is on the store afterwards, without locks and unfinished files; the next stage finds it', async () => {
  const result = await on(
    'a',
    async ({ dir }) => {
      await write(dir, 'activations/data-00000.arrow', 'rows');
      await write(dir, 'activations/checkpoints/step-1/weights', 'without a state');
      await write(dir, '.lock-0-3', 'me');
      await write(dir, 'data.part', 'half');
      await write(dir, 'stage.json', '{}');
      return 7;
    },
    { dir: 'harvest-00000001' },
  );
  expect(result).toBe(7);
  expect(await names()).toEqual([
    'harvest-00000001/activations/data-00000.arrow',
    'harvest-00000001/stage.json',
  ]);
  const read = (workspace: Workspace) =>
    readFile(join(workspace.inputs['harvest-00000001']!, 'activations/data-00000.arrow'), 'utf8');
  expect(await on('b', read, { inputs: ['harvest-00000001'] })).toBe('rows');
});

test('stage.json comes after everything it vouches for', async () => {
  await on('a', async ({ dir }) => {
    for (let i = 0; i < 5; i++) await write(dir, `file-${i}`, `${i}`);
    await write(dir, 'a.json', '{}');
    await write(dir, 'stage.json', '{}');
  });
  const puts = s3.asked.filter(({ method, path }) => method === 'PUT' && path.includes(`run-${count}/`));
  expect(puts.at(-1)?.path).toContain('stage.json');
  expect(puts.at(-2)?.path).toContain('a.json');
});

test('an input that is not finished is a lesson', async () => {
  await expect(on('a', async () => 1, { inputs: ['harvest-00000009'] })).rejects.toMatchObject({
    kind: 'missing-file',
    lesson: { where: expect.stringContaining('harvest-00000009/stage.json') },
  });
});

test('an input is fetched once for ten jobs of a machine', async () => {
  await writeStoredJson(out, 'harvest-00000001/stage.json', {});
  await writeStoredJson(out, 'harvest-00000001/big.json', { x: 'x'.repeat(1000) });
  const gets = () =>
    s3.asked.filter(({ method, path }) => method === 'GET' && path.includes('big.json')).length;
  const jobs = Array.from({ length: 10 }, (_, i) =>
    on('a', async () => i, { dir: `train-0000000${i}`, inputs: ['harvest-00000001'] }),
  );
  expect(await Promise.all(jobs)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(gets()).toBe(1);
});

test('stopped on one machine, a training goes on from its checkpoint on another, and pruned checkpoints are gone', async () => {
  const stop = new AbortController();
  const stopped = on(
    'a',
    async ({ dir }) => {
      await steps(dir, 0, 3);
      stop.abort(new Error('SIGTERM'));
      stop.signal.throwIfAborted();
    },
    {},
    stop.signal,
  );
  await expect(stopped).rejects.toThrow('SIGTERM');
  const log = await on('b', async ({ dir }) => {
    expect(await newest(dir)).toBe(3);
    await steps(dir, 3, 5);
    await write(dir, 'stage.json', '{}');
    return readFile(join(dir, 'metrics.jsonl'), 'utf8');
  });
  expect(log).toBe('1\n2\n3\n4\n5\n');
  expect(await names('train-00000001/checkpoints')).toEqual([
    'train-00000001/checkpoints/step-5/state.json',
    'train-00000001/checkpoints/step-5/weights',
  ]);
});

test('finished files are pushed while the stage works, stage.json is not', async () => {
  await on(
    'a',
    async ({ dir }) => {
      await write(dir, 'shard', 'rows');
      await write(dir, 'stage.json', '{}');
      await expect.poll(() => names(), { timeout: 10_000 }).toEqual(['train-00000001/shard']);
    },
    { pushSeconds: 0.1 },
  );
  expect(await names()).toContain('train-00000001/stage.json');
});

test('what a machine has not pushed is not lost to it: the same machine goes on from there', async () => {
  s3.harm(({ method }) => (method === 'PUT' ? { answer: { status: 403, code: 'AccessDenied' } } : undefined));
  await expect(on('a', ({ dir }) => steps(dir, 0, 4))).rejects.toMatchObject({ kind: 'bad-storage' });
  s3.harm(undefined);
  expect(await names()).toEqual([]);
  expect(await on('a', ({ dir }) => newest(dir))).toBe(4);
  expect(await names('train-00000001/checkpoints')).toHaveLength(2);
});

test('when another machine has gone on, its state is taken as a whole, not mixed with what is left here', async () => {
  await on('a', ({ dir }) => steps(dir, 0, 2));
  s3.harm(({ method }) => (method === 'PUT' ? { answer: { status: 403, code: 'AccessDenied' } } : undefined));
  await expect(on('a', ({ dir }) => steps(dir, 2, 9))).rejects.toThrow();
  s3.harm(undefined);
  await on('b', ({ dir }) => steps(dir, 2, 5));
  await on('a', async ({ dir }) => {
    expect(await newest(dir)).toBe(5);
    expect(await readFile(join(dir, 'metrics.jsonl'), 'utf8')).toBe('1\n2\n3\n4\n5\n');
  });
});

test('a push that is cut in the middle leaves no finished stage, and is completed by the same job run again', async () => {
  const run = async ({ dir }: Workspace) => {
    for (let i = 0; i < 6; i++) await write(dir, `shard-${i}`, `rows ${i}`);
    await write(dir, 'stage.json', '{}');
  };
  s3.harm(({ method, path }) =>
    method === 'PUT' && /shard-[345]/.test(path)
      ? { answer: { status: 403, code: 'AccessDenied' } }
      : undefined,
  );
  await expect(on('a', run)).rejects.toThrow();
  expect(await storeExists(out, 'train-00000001/stage.json')).toBeUndefined();
  s3.harm(undefined);
  await on('b', run);
  expect(await names()).toHaveLength(7);
});

test('parts of a stage on one machine leave each other’s files alone; the join has them all', async () => {
  const part = (i: number) =>
    on(
      'a',
      async ({ dir }) => {
        await write(dir, `shard-${i}`, `rows ${i}`);
        await write(dir, `shard-${i}.json`, `${i}`);
      },
      { own: (name) => name.startsWith(`shard-${i}`) },
    );
  await Promise.all([part(0), part(1), part(2)]);
  const puts = s3.asked.filter(({ method, path }) => method === 'PUT' && path.includes(`run-${count}/`));
  expect(puts).toHaveLength(6);
  await on('b', async ({ dir }) => {
    expect((await readdir(dir)).sort()).toEqual([
      'shard-0',
      'shard-0.json',
      'shard-1',
      'shard-1.json',
      'shard-2',
      'shard-2.json',
    ]);
  });
  const gets = s3.asked.filter(
    ({ method, path }) => method === 'GET' && path.includes(`run-${count}/`),
  ).length;
  await on('a', async ({ dir }) => expect(await readdir(dir)).toHaveLength(6));
  expect(
    s3.asked.filter(({ method, path }) => method === 'GET' && path.includes(`run-${count}/`)).length,
  ).toBe(gets);
});

test('whoever finishes second changes nothing', async () => {
  await on('a', async ({ dir }) => {
    await write(dir, 'weights', 'second');
    await write(dir, 'stage.json', '{"by": "second"}');
    await on('b', async (other) => {
      await write(other.dir, 'weights', 'first');
      await write(other.dir, 'stage.json', '{"by": "first"}');
    });
  });
  expect(await readStoredJson(out, 'train-00000001/stage.json')).toEqual({ by: 'first' });
});

test('once the write guard refuses, nothing more is stored', async () => {
  try {
    await on('a', async ({ dir }) => {
      await write(dir, 'weights', 'late');
      guardWrites(() => {
        throw new Error('the lease has lapsed');
      });
    });
  } finally {
    guardWrites(() => {});
  }
  expect(await names()).toEqual([]);
});

test('a scratch folder over its bound loses the copies that were not used for longest, never those in use', async () => {
  for (const name of ['harvest-00000001', 'harvest-00000002', 'harvest-00000003']) {
    await writeStoredJson(out, `${name}/stage.json`, {});
    await writeStoredJson(out, `${name}/data.json`, 'x'.repeat(5000));
  }
  const run = async () => join(machine('a'), (await readdir(machine('a')))[0]!, 'run');
  process.env.UNFOLD_SCRATCH_BYTES = '12000';
  try {
    for (const i of [1, 2])
      await on('a', async () => i, { dir: 'train-00000001', inputs: [`harvest-0000000${i}`] });
    await on(
      'a',
      async ({ inputs }) => {
        process.env.UNFOLD_SCRATCH_BYTES = '0';
        await on('a', async () => 0, { dir: 'train-00000002' });
        expect(await readdir(inputs['harvest-00000003']!)).toHaveLength(2);
        process.env.UNFOLD_SCRATCH_BYTES = '12000';
      },
      { dir: 'train-00000001', inputs: ['harvest-00000003'] },
    );
    const left = (await readdir(await run())).filter((name) => name.startsWith('harvest'));
    expect(left).not.toContain('harvest-00000001');
    expect(left).toContain('harvest-00000003');
  } finally {
    delete process.env.UNFOLD_SCRATCH_BYTES;
  }
});

test('JSON on a store: read, replaced, missing, damaged, removed with its folder', async () => {
  expect(await readStoredJson(out, 'a/x.json')).toBeUndefined();
  await writeStoredJson(out, 'a/x.json', { a: 1 });
  expect(await readStoredJson(out, 'a/x.json')).toEqual({ a: 1 });
  await (await storeOf(out)).put('a/x.json', { bytes: Buffer.from('{"a":') });
  await expect(readStoredJson(out, 'a/x.json')).rejects.toMatchObject({ kind: 'bad-json' });
  await removeStored(out, 'a');
  expect(await names()).toEqual([]);
});
