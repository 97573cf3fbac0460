/** @file Copies that are killed half-way and repeated: nothing is left that is not their result, here and in the bucket. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { silent } from '../../src/context.ts';
import { partOf } from '../../src/parts.ts';
import { copyPlace } from '../../src/storage/copy.ts';
import { noise } from '../suites/artifact-store.ts';
import { CREDENTIALS, startS3, type TestS3 } from '../support/s3.ts';

const repository = join(import.meta.dirname, '../..');
const strike = join(import.meta.dirname, '../support/strike.mjs');
let s3: TestS3;
let root: string;
let run: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'unfold-killed-'));
  Object.assign(process.env, CREDENTIALS, {
    AWS_CONFIG_FILE: '/dev/null',
    UNFOLD_STATE: join(root, 'state'),
  });
  s3 = await startS3();
  run = join(root, 'run');
  await mkdir(join(run, 'train-00000001'), { recursive: true });
  await writeFile(join(run, 'train-00000001/large'), noise(20_000_000));
  await writeFile(join(run, 'train-00000001/stage.json'), '{}');
}, 360_000);
afterAll(async () => {
  await s3?.stop();
  await rm(root, { recursive: true, force: true });
});

/** `unfold copy`, which dies at the third piece of the large file that it writes, or when `kill` is called. */
function copy(from: string, to: string): { died: Promise<unknown>; kill(): void } {
  const moments = [{ path: 'large\\..*part$', at: 'write', nth: 3 }];
  const marks = mkdtempSync(join(root, 'marks-'));
  const child = spawn(
    process.execPath,
    ['--import', strike, '--import', 'tsx', 'src/cli/main.ts', 'copy', from, to],
    {
      cwd: repository,
      env: { ...process.env, UNFOLD_TEST_STRIKES: JSON.stringify({ marks, who: 'self', moments }) },
      stdio: 'ignore',
    },
  );
  return { died: once(child, 'exit'), kill: () => child.kill('SIGKILL') };
}

const partsOf = async (dir: string) =>
  (await readdir(dir, { recursive: true })).filter((name) => name.endsWith('.part'));

test.each([
  ['a folder to a folder', async () => run],
  [
    'a bucket to a folder',
    async () => {
      await copyPlace(run, s3.url('from'), silent());
      return s3.url('from');
    },
  ],
])(
  '%s: what the dead one left goes, also of a file that has no successor; what is a living one’s stays',
  async (name, source) => {
    const from = await source();
    const to = join(root, name.replaceAll(' ', '-'));
    expect(await copy(from, to).died).toEqual([null, 'SIGKILL']);
    const left = await partsOf(to);
    expect(left).toEqual([expect.stringMatching(/large\..*\.part$/)]);
    await mkdir(join(to, 'harvest-2'));
    await writeFile(join(to, 'harvest-2', basename(left[0]!).replace('large', 'gone')), 'x');
    const living = partOf(join(to, 'mine'));
    await writeFile(living, 'x');
    await copyPlace(from, to, silent());
    expect(await partsOf(to)).toEqual([basename(living)]);
    expect((await readdir(join(to, 'train-00000001'))).sort()).toEqual(['large', 'stage.json']);
  },
);

test('a folder to a bucket: the parts that the dead one had sent are given up; a living one’s stay', async () => {
  const url = s3.url('to');
  const killed = copy(run, url);
  s3.harm(({ method, path }) => {
    if (method === 'PUT' && path.includes('partNumber=2')) killed.kill();
    return undefined;
  });
  expect(await killed.died).toEqual([null, 'SIGKILL']);
  s3.harm(undefined);
  const [dead, ...none] = await s3.leftUploads();
  expect([dead, none]).toEqual([expect.any(String), []]);
  let living: string[] = [];
  const watched = vi.fn(async () => {
    living = await s3.leftUploads();
  });
  s3.harm(({ method, path }) => {
    if (method === 'PUT' && path.includes('partNumber=1')) void watched();
    return undefined;
  });
  await copyPlace(run, url, silent());
  s3.harm(undefined);
  expect(living).toHaveLength(1);
  expect(living).not.toContain(dead);
  expect(await s3.leftUploads()).toEqual([]);
  expect(await readdir(join(root, 'state/uploads'))).toEqual([]);
});

test('where no note can be made, an upload goes on without one', async () => {
  vi.stubEnv('UNFOLD_STATE', '/dev/null/nowhere');
  expect(await copyPlace(run, s3.url('unnoted'), silent())).toMatchObject({ copied_files: 2 });
  vi.unstubAllEnvs();
});
