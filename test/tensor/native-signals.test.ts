/**
 * @file Signals that arrive while a product is computed. oneDNN's generated kernels corrupted the heap when a signal
 * handler ran on their stack; a profiler sends a signal every tenth of a millisecond here.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const program = `
  import { tf, useBackend } from 'unfold-sae';
  await useBackend('native');
  const end = performance.now() + 2000;
  for (let i = 0; performance.now() < end; i++) {
    tf.tidy(() => {
      const [m, k, n] = [[512, 128, 512], [64, 512, 128], [33, 127, 4096]][i % 3];
      tf.matMul(tf.ones([m, k]), tf.ones([k, n])).dataSync();
    });
  }`;

test('products survive a profiler that signals them ten thousand times a second', () => {
  const folder = mkdtempSync(join(tmpdir(), 'unfold-signals-'));
  const profiler = ['--cpu-prof', '--cpu-prof-interval', '100', '--cpu-prof-dir', folder];
  const child = spawnSync(process.execPath, [...profiler, '--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8',
  });
  expect(child.stderr).toBe('');
  expect([child.status, child.signal]).toEqual([0, null]);
});
