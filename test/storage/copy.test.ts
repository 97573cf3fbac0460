/** @file Runs between folders and buckets: resumed, repeated, on disks that are full, from buckets that hold traps. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type StageContext, silent } from '../../src/context.ts';
import { sha256File } from '../../src/files.ts';
import { recordFiles } from '../../src/inventory.ts';
import { storedFinish } from '../../src/jobs/stored-stage.ts';
import { writeSealed } from '../../src/seal.ts';
import { copyPlace } from '../../src/storage/copy.ts';
import { openStore } from '../../src/storage/open.ts';
import { pull } from '../../src/storage/sync.ts';
import { listOf, noise } from '../suites/artifact-store.ts';
import { CREDENTIALS, startS3, type TestS3 } from '../support/s3.ts';

const repository = join(import.meta.dirname, '../..');
let s3: TestS3;
let root: string;
/** A finished run. */
let run: string;
beforeAll(async () => {
  Object.assign(process.env, CREDENTIALS, {
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  });
  s3 = await startS3();
  root = await mkdtemp(join(tmpdir(), 'unfold-copy-'));
  run = join(root, 'run');
  await makeRun(run);
});
afterAll(async () => {
  await s3.stop();
  await rm(root, { recursive: true, force: true });
});
beforeEach(() => s3.harm(undefined));

async function makeRun(dir: string): Promise<void> {
  for (const [folder, finished_at] of [
    ['train-00000001', '2026-01-02T00:00:00.000Z'],
    ['train-00000002', '2026-01-01T00:00:00.000Z'],
  ] as const) {
    await mkdir(join(dir, folder, 'run/final'), { recursive: true });
    await writeFile(join(dir, folder, 'run/final/sae_weights.safetensors'), noise(100_000));
    await writeFile(join(dir, folder, 'run/metrics.jsonl'), '{}\n');
    await writeFile(join(dir, folder, 'stage.json'), JSON.stringify({ stage: 'train', finished_at }));
  }
  await mkdir(join(dir, 'harvest-00000003/activations'), { recursive: true });
  for (let i = 0; i < 12; i++)
    await writeFile(join(dir, `harvest-00000003/activations/data-${i}.arrow`), noise(50_000 + i));
  await writeFile(join(dir, 'harvest-00000003/activations/empty'), '');
  await writeFile(join(dir, 'harvest-00000003/.lock'), 'somebody');
  await symlink('train-00000001', join(dir, 'train'));
}

/** Name → hash of every file; links as they are. */
async function contentOf(dir: string): Promise<Record<string, string>> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const content: Record<string, string> = {};
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(dir.length + 1);
    if (entry.isSymbolicLink()) content[name] = `-> ${await readlink(path)}`;
    else if (entry.isFile()) content[name] = await sha256File(path);
  }
  return content;
}

const withoutLocks = (content: Record<string, string>) =>
  Object.fromEntries(Object.entries(content).filter(([name]) => !name.includes('.lock')));

test('a run to a bucket and back is the same, its links included', async () => {
  const there = await copyPlace(run, s3.url('round'), silent());
  expect(there).toMatchObject({ files: 19, copied_files: 19, left_out: ['train'], links: [] });
  const back = join(root, 'back');
  expect(await copyPlace(s3.url('round'), back, silent())).toMatchObject({ files: 19, links: ['train'] });
  expect(await contentOf(back)).toEqual(withoutLocks(await contentOf(run)));
});

test('a run from folder to folder is the same, its links included', async () => {
  const to = join(root, 'folder');
  await copyPlace(run, to, silent());
  expect(await contentOf(to)).toEqual(withoutLocks(await contentOf(run)));
});

test('what is there already is not copied again, either way; what changed is', async () => {
  const url = s3.url('again');
  const dir = join(root, 'again');
  await copyPlace(run, dir, silent());
  await copyPlace(dir, url, silent());
  expect(await copyPlace(dir, url, silent())).toMatchObject({ files: 19, copied_files: 0, copied_bytes: 0 });
  const name = 'harvest-00000003/activations/data-3.arrow';
  const bytes = await readFile(join(dir, name));
  bytes[7]! ^= 1;
  await writeFile(join(dir, name), bytes);
  expect(await copyPlace(dir, url, silent())).toMatchObject({ copied_files: 1, copied_bytes: bytes.length });
  const back = join(root, 'again-back');
  await copyPlace(run, back, silent());
  expect(await copyPlace(url, back, silent())).toMatchObject({ copied_files: 1 });
  expect(await contentOf(back)).toEqual(await contentOf(dir));
});

test('unfold copy killed in the middle leaves no finished stage behind, and goes on when started again', async () => {
  const url = s3.url('killed');
  const args = ['--import', 'tsx', 'src/cli/main.ts', 'copy', run, url, '--json'];
  const options = { cwd: repository, env: { ...process.env } };
  const child = spawn(process.execPath, args, { ...options, stdio: 'ignore' });
  let puts = 0;
  s3.harm(({ method }) => {
    if (method === 'PUT' && ++puts === 8) child.kill('SIGKILL');
    return undefined;
  });
  await once(child, 'exit');
  s3.harm(undefined);
  const names = (await listOf(await openStore(url))).map(({ name }) => name);
  expect(names.length).toBeGreaterThan(0);
  expect(names.filter((name) => name.endsWith('stage.json'))).toEqual([]);
  const again = spawn(process.execPath, args, { ...options, stdio: ['ignore', 'pipe', 'ignore'] });
  let said = '';
  again.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await once(again, 'close');
  const { files, copied_files } = JSON.parse(said) as { files: number; copied_files: number };
  expect(files).toBe(19);
  expect(copied_files).toBeLessThanOrEqual(files - names.length);
  expect(await listOf(await openStore(url))).toHaveLength(19);
});

test('a copy that is stopped throws the reason, keeps what it has and leaves no half files', async () => {
  const url = s3.url('stopped');
  await copyPlace(run, url, silent());
  const controller = new AbortController();
  const reason = new Error('Ctrl-C');
  let gets = 0;
  s3.harm(({ method, path }) => {
    if (method === 'GET' && path.includes('data-') && ++gets === 7) controller.abort(reason);
    return undefined;
  });
  const to = join(root, 'stopped');
  await expect(copyPlace(url, to, silent(controller.signal))).rejects.toThrow('Ctrl-C');
  const left = Object.keys(await contentOf(to));
  expect(left.filter((name) => name.endsWith('.part'))).toEqual([]);
  expect(left.length).toBeGreaterThan(0);
  expect(await copyPlace(url, to, silent())).toMatchObject({ files: 19 });
});

test('a damaged object is refused and does not become a file; the others do', async () => {
  const url = s3.url('damaged');
  await copyPlace(run, url, silent());
  const client = new S3Client({ endpoint: s3.endpoint, region: 'us-east-1', forcePathStyle: true });
  const Key = 'damaged/train-00000001/run/final/sae_weights.safetensors';
  const Metadata = { sha256: await sha256File(join(run, Key.slice('damaged/'.length))) };
  await client.send(
    new PutObjectCommand({ Bucket: s3.bucket, Key, Metadata, Body: noise(100_000).fill(1, 500, 600) }),
  );
  const to = join(root, 'damaged');
  await expect(copyPlace(url, to, silent())).rejects.toMatchObject({ kind: 'damaged' });
  const names = Object.keys(await contentOf(to));
  expect(names.filter((name) => name.includes('sae_weights') && name.includes('00000001'))).toEqual([]);
  expect(names.filter((name) => name.endsWith('stage.json'))).toEqual([]);
});

test('names in a bucket that lead out of the folder are refused before anything is written', async () => {
  const client = new S3Client({ endpoint: s3.endpoint, region: 'us-east-1', forcePathStyle: true });
  for (const Key of ['trap/good', 'trap/a\\..\\b']) {
    await client.send(new PutObjectCommand({ Bucket: s3.bucket, Key, Body: 'x' }));
  }
  const to = join(root, 'trap');
  await expect(copyPlace(s3.url('trap'), to, silent())).rejects.toMatchObject({ kind: 'bad-name' });
  expect(await readdir(to).catch(() => [])).toEqual([]);
});

test('a file that the system has no room for ends in a lesson, and no half file is left', async () => {
  const url = s3.url('full');
  const large = join(root, 'large');
  await makeRun(large);
  await writeFile(join(large, 'train-00000001/run/final/large'), noise(6_000_000));
  await copyPlace(large, url, silent());
  const to = join(root, 'full');
  // A limit on the size of files is met as a full disk is: in the middle of writing.
  const child = spawn(
    'bash',
    [
      '-c',
      'ulimit -f 2000; exec "$@"',
      'bash',
      process.execPath,
      '--import',
      'tsx',
      'src/cli/main.ts',
      'copy',
      url,
      to,
      '--json',
    ],
    { cwd: repository, env: { ...process.env, TSX_DISABLE_CACHE: '1' }, stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await once(child, 'close');
  expect(JSON.parse(said)).toMatchObject({ error: { kind: 'disk-full' } });
  const names = Object.keys(await contentOf(to));
  expect(names.filter((name) => name.endsWith('.part') || name.endsWith('stage.json'))).toEqual([]);
  expect(await copyPlace(url, to, silent())).toMatchObject({ files: 20 });
});

test('progress is in bytes and ends at the sum of what was missing', async () => {
  const url = s3.url('progress');
  await copyPlace(run, url, silent());
  let total = 0;
  let last = 0;
  const context: StageContext = {
    ...silent(),
    bar(_label, all) {
      total = all;
      return {
        update(done) {
          last = done;
        },
        finish() {},
      };
    },
  };
  const store = await openStore(url);
  const { copied_bytes } = await pull(store, '', join(root, 'progress'), {}, context);
  expect([total, last]).toEqual([copied_bytes, copied_bytes]);
});

test('nothing to copy, a file within itself, and two URLs are lessons', async () => {
  await expect(copyPlace(s3.url('nothing'), join(root, 'x'), silent())).rejects.toMatchObject({
    kind: 'missing-file',
  });
  await expect(copyPlace(join(root, 'no'), s3.url('x'), silent())).rejects.toMatchObject({
    kind: 'missing-file',
  });
  await expect(copyPlace(run, join(run, 'sub'), silent())).rejects.toMatchObject({ kind: 'bad-setting' });
  await expect(copyPlace(s3.url('a'), s3.url('b'), silent())).rejects.toMatchObject({ kind: 'bad-setting' });
});

test('unfold copy without credentials says so on one screen', () => {
  const { AWS_ACCESS_KEY_ID: _, AWS_SECRET_ACCESS_KEY: __, ...env } = process.env;
  const child = spawnSync(
    process.execPath,
    ['--import', 'tsx', 'src/cli/main.ts', 'copy', run, s3.url('x')],
    { cwd: repository, env: { ...env, AWS_EC2_METADATA_DISABLED: 'true' }, encoding: 'utf8' },
  );
  expect(child.status).toBe(1);
  expect(child.stderr).toContain('credentials');
  expect(child.stderr).not.toContain('internal:');
});

describe('a run with manifests', () => {
  const key = 'abcdef01'.repeat(8);
  const folder = 'train-abcdef01';
  const files = {
    small: 'run/final/cfg.json',
    large: 'run/final/sae_weights.safetensors',
    log: 'run/metrics.jsonl',
  };

  async function sealedRun(dir: string): Promise<string> {
    const stage = join(dir, folder);
    await mkdir(join(stage, 'run/final'), { recursive: true });
    await writeFile(join(stage, files.small), '{}');
    await writeFile(join(stage, files.large), noise(200_000));
    await writeFile(join(stage, files.log), '{}\n');
    const records = await recordFiles(stage, Object.values(files));
    const manifest = { kind: 'unfold.stage/1', stage: 'train', key, finished_at: '2026', files: records };
    await writeSealed(join(stage, 'stage.json'), manifest);
    return stage;
  }

  test.each([
    ['a small file with another digit', files.small, '[]', false],
    ['a large file that is cut', files.large, 'cut', false],
    ['a log that is gone', files.log, undefined, false],
    ['its manifest edited', 'stage.json', `{"kind":"unfold.stage/1","key":"${key}","seal":"0"}`, false],
    [
      'a large file with other bytes, which is checked when it is used',
      files.large,
      noise(200_000).fill(7),
      true,
    ],
  ])(
    '%s: copy names it, and a stage on a bucket counts only if it looks whole',
    async (name, file, content, counts) => {
      const dir = join(root, name);
      const stage = await sealedRun(dir);
      const url = s3.url(name.replaceAll(/\W/g, '-'));
      expect(await copyPlace(dir, url, silent())).toMatchObject({ damaged: [] });
      expect(await storedFinish(url, folder, key)).toMatchObject({ key });
      expect(await storedFinish(url, folder, 'another')).toBeUndefined();

      const path = join(stage, file);
      if (content === undefined) await rm(path);
      else await writeFile(path, content);
      const bad = s3.url(`${name.replaceAll(/\W/g, '-')}-damaged`);
      const warnings: string[] = [];
      const context = { ...silent(), warn: (message: string) => void warnings.push(message) };
      expect(await copyPlace(dir, bad, context)).toMatchObject({ damaged: [`${folder}/${file}`] });
      const back = join(root, `${name} back`);
      expect(await copyPlace(bad, back, context)).toMatchObject({ damaged: [`${folder}/${file}`] });
      expect(warnings.map((words) => words.includes(file))).toEqual([true, true]);
      expect((await storedFinish(bad, folder, key)) !== undefined).toBe(counts);
    },
  );
});
