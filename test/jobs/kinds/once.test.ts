import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { silent } from '../../../src/context.ts';
import { isDone, type OnceOptions, once } from '../../../src/jobs/kinds/once.ts';

let dir: string;
let times: number;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'unfold-once-'));
  await writeFile(join(dir, 'input'), 'rows');
  times = 0;
});
afterEach(() => rm(dir, { recursive: true }));

const work = (more: Partial<OnceOptions> = {}): OnceOptions => ({
  stage: 'evaluate',
  settings: { max_tokens: 10 },
  out: join(dir, 'out'),
  manifest: 'e.json.job.json',
  inputs: [join(dir, 'input')],
  files: ['e.json'],
  ...more,
});

const make = async () => {
  times++;
  await writeFile(join(dir, 'out/e.json'), `made from ${await readFile(join(dir, 'input'), 'utf8')}`);
  return { l0: 16 };
};

it('makes once, and remembers the result', async () => {
  expect(await isDone(work())).toBe(false);
  expect(await once(work(), silent(), make)).toEqual({ l0: 16, skipped: false });
  expect(await isDone(work())).toBe(true);
  expect(await once(work(), silent(), make)).toEqual({ l0: 16, skipped: true });
  expect(times).toBe(1);
  expect((await readdir(join(dir, 'out'))).sort()).toEqual(['e.json', 'e.json.job.json']);
});

it('of two at once, one makes and the other is told who is at it', async () => {
  const both = await Promise.allSettled([once(work(), silent(), make), once(work(), silent(), make)]);
  const refused = both.filter(({ status }) => status === 'rejected');
  expect(refused).toMatchObject([{ reason: { kind: 'locked' } }]);
  expect(times).toBe(1);
});

it('makes again what was made from something else, what is gone, and what is cut short', async () => {
  await once(work(), silent(), make);
  await writeFile(join(dir, 'input'), 'other rows');
  expect(await isDone(work())).toBe(false);
  expect((await once(work(), silent(), make)).skipped).toBe(false);
  expect(await readFile(join(dir, 'out/e.json'), 'utf8')).toBe('made from other rows');
  await rm(join(dir, 'out/e.json'));
  expect((await once(work(), silent(), make)).skipped).toBe(false);
  await writeFile(join(dir, 'out/e.json'), 'made');
  expect((await once(work(), silent(), make)).skipped).toBe(false);
  expect(times).toBe(4);
});

it('does not write over the results of other settings', async () => {
  await once(work(), silent(), make);
  const other = once(work({ settings: { max_tokens: 20 } }), silent(), make);
  await expect(other).rejects.toMatchObject({ kind: 'settings-differ' });
  expect(times).toBe(1);
});

it('leaves no manifest when the work fails', async () => {
  const fail = () => Promise.reject(new Error('lost'));
  await expect(once(work(), silent(), fail)).rejects.toThrow('lost');
  expect(await isDone(work())).toBe(false);
  expect((await once(work(), silent(), make)).skipped).toBe(false);
});
