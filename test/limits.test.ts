/** @file Limits of the process: named at once where nothing would work, by the command as it is started. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { limitsOfProcess, shortOfLimits } from '../src/limits.ts';

const unfold = join(import.meta.dirname, '../bin/unfold.js');
const GIB = 2 ** 30;

test.each([
  ['-n 128', ['run', 'pipelines/quickstart.yaml', '--out', '/nonexistent/out'], 'ulimit -n', '128'],
  ['-n 64', ['evaluate', '--coder', 'x', '--json'], 'ulimit -n', '64'],
  ['-n 40', ['jobs'], 'ulimit -n', '40'],
  ['-v 4194304', ['train', '--shards', 'x', '--out', '/nonexistent/out'], 'ulimit -v', '4.00 GiB'],
  ['-v 2097152', ['harvest', '--json', '--out', '/nonexistent/out'], 'ulimit -v', '2.00 GiB'],
  ['-v 1048576', ['generate', '--model', 'x', '--prompt', 'x'], 'ulimit -v', '1.00 GiB'],
])('with ulimit %s a command names the limit', (limit, args, where, found) => {
  const began = performance.now();
  const line = `ulimit ${limit}; exec "$@"`;
  const { status, stdout, stderr } = spawnSync(
    'bash',
    ['-c', line, 'bash', process.execPath, unfold, ...args],
    {
      encoding: 'utf8',
    },
  );
  expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining(where) });
  expect(stderr.split('\n')).toHaveLength(5);
  expect(stderr).toContain(`found     ${found}\n`);
  if (args.includes('--json')) expect(JSON.parse(stdout).error).toMatchObject({ kind: 'limit', found });
  expect(performance.now() - began).toBeLessThan(20_000);
});

test('the remedy for little address space is one that works', () => {
  const advice = shortOfLimits({ files: 1024, space: 4 * GIB }, '')!.lesson.todo;
  const [name, value] = /^(\w+)=(\S+) before/.exec(advice)!.slice(1) as [string, string];
  expect(shortOfLimits({ files: 1024, space: 4 * GIB }, value)).toBeUndefined();
  const line = 'ulimit -v 4194304; exec "$@"';
  const { status, stdout } = spawnSync(
    'bash',
    [
      '-c',
      line,
      'bash',
      process.execPath,
      unfold,
      'generate',
      '--model',
      'checkpoints/novels-4l',
      '--prompt',
      'It was',
      '--json',
    ],
    {
      cwd: join(import.meta.dirname, '..'),
      env: { ...process.env, [name]: value },
      encoding: 'utf8',
    },
  );
  expect(status).toBe(0);
  expect(JSON.parse(stdout).new_ids).toHaveLength(20);
});

test('limits are read from /proc; where there is none they are not known', () => {
  const lines =
    'Max open files            1024                 1048576              files     \nMax address space         unlimited            unlimited            bytes     \n';
  expect(limitsOfProcess(() => lines)).toEqual({ files: 1024, space: Number.POSITIVE_INFINITY });
  const none = limitsOfProcess(() => {
    throw new Error('no /proc');
  });
  expect(shortOfLimits(none)).toBeUndefined();
});

test('enough is enough', () => {
  expect(shortOfLimits({ files: 256, space: 12 * GIB }, '')).toBeUndefined();
  expect(shortOfLimits({ files: 255, space: Number.POSITIVE_INFINITY }, '')?.kind).toBe('limit');
  expect(shortOfLimits({ files: 256, space: 1 * GIB }, '--disable-wasm-trap-handler')?.lesson.todo).toContain(
    'unlimited',
  );
});
