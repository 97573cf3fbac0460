/** @file A job that would write outside of the worker's roots is refused before anything is made. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, realpath, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { silent } from '../../src/context.ts';
import { executeJob } from '../../src/jobs/execute.ts';
import type { DirectJob, JobMessage, StageJob } from '../../src/jobs/message.ts';
import { isWithin, resolveRoots, withinRoots } from '../../src/jobs/roots.ts';

let dir: string;
beforeAll(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'unfold-roots-')));
  await mkdir(join(dir, 'root/run'), { recursive: true });
  await mkdir(join(dir, 'elsewhere'));
  await symlink(join(dir, 'elsewhere'), join(dir, 'root/link'));
  await symlink(join(dir, 'nothing'), join(dir, 'root/dangling'));
  await symlink(join(dir, 'root/run'), join(dir, 'way-in'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const probe = (out: string): DirectJob => ({
  kind: 'unfold.job/1',
  type: 'direct',
  stage: 'probe',
  flow: 'probe-x',
  tags: [],
  out,
  settings: { seconds: 0 },
});

test('by real path: links, dots, names that begin alike, what is not there yet', async () => {
  const roots = await resolveRoots([join(dir, 'root'), join(dir, 'new/root')]);
  const may = (name: string) => isWithin(`${dir}/${name}`, roots);
  for (const name of ['root', 'root/run', 'root/a/b/c', 'way-in/x', 'new/root/x', 'root/run//x/'])
    expect(await may(name), name).toBe(true);
  for (const name of [
    '',
    'elsewhere',
    'rooty',
    'root/link',
    'root/link/new/x',
    'root/dangling',
    'root/dangling/x',
  ])
    expect(await may(name), name).toBe(false);
  for (const name of ['root/../elsewhere', 'root/link/../root/x', 'new', 'root/x\0y'])
    expect(await may(name), name).toBe(false);
  expect(await isWithin('root/run', roots)).toBe(false);
  expect(await isWithin('/etc', await resolveRoots(['/']))).toBe(true);
  await expect(resolveRoots([join(dir, 'root/dangling')])).rejects.toMatchObject({ kind: 'bad-setting' });
});

test('buckets: the same server, the same bucket, a prefix below', async () => {
  const roots = await resolveRoots(['s3://bucket/runs', 's3://own?endpoint=http://h:9000']);
  for (const url of ['s3://bucket/runs', 's3://bucket/runs/a', 's3://own/x/y?endpoint=http://h:9000/'])
    expect(await isWithin(url, roots), url).toBe(true);
  for (const url of [
    's3://bucket',
    's3://bucket/runs2',
    's3://bucket/runs/a?endpoint=http://evil',
    's3://own/x',
  ])
    expect(await isWithin(url, roots), url).toBe(false);
  expect(await isWithin('s3://bucket/runs', await resolveRoots(['/']))).toBe(false);
});

test('nothing is made of a job that is refused, and the message says how to allow it', async () => {
  const roots = await resolveRoots([join(dir, 'root')]);
  const options = { scratch: join(dir, 'scratch'), roots };
  for (const out of ['elsewhere/probe', 'root/link/probe', 'new/probe', 'root/../elsewhere/probe']) {
    const refusal = await executeJob(probe(`${dir}/${out}`), options, silent()).catch((error) => error);
    expect([refusal.kind, refusal.lesson?.todo]).toEqual([
      'outside-root',
      expect.stringContaining(`--root '${dir}/${out}'`),
    ]);
  }
  expect(await readdir(join(dir, 'elsewhere'))).toEqual([]);
  expect(existsSync(join(dir, 'new')) || existsSync(join(dir, 'scratch'))).toBe(false);
  const done = await executeJob(probe(join(dir, 'root/run/probe')), options, silent());
  expect(done).toMatchObject({ type: 'done' });
});

test('a stage’s own folder that is a link, and other places of the same work, count as well', async () => {
  const roots = await resolveRoots([join(dir, 'root')]);
  const stage = {
    ...probe(join(dir, 'root')),
    type: 'stage',
    stage: 'corpus',
    version: 1,
    key: 'a'.repeat(64),
    inputs: {},
    phase: 'split',
    elsewhere: [join(dir, 'elsewhere/corpus-aaaaaaaa'), join(dir, 'root/run/corpus-aaaaaaaa')],
  } as unknown as StageJob;
  expect(await withinRoots(stage as JobMessage, roots)).toMatchObject({
    elsewhere: [join(dir, 'root/run/corpus-aaaaaaaa')],
  });
  await symlink(join(dir, 'elsewhere'), join(dir, 'root/corpus-aaaaaaaa'));
  await expect(executeJob(stage, { scratch: dir, roots }, silent())).rejects.toMatchObject({
    kind: 'outside-root',
  });
});
