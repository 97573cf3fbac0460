/** @file The choice of a backend. Which backends can run differs from machine to machine; what is said about it does not. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { silent } from '../../src/context.ts';
import { BACKEND_NAMES, closeBackend, currentBackend, useBackend } from '../../src/tensor/backend.ts';
import { backends } from '../../src/tensor/backends/table.ts';
import * as tf from '../../src/tensor/tf.ts';
import { testedBackends } from './support/tested-backends.ts';

afterEach(() => vi.unstubAllEnvs());
afterAll(closeBackend);

describe.each(await testedBackends())('backend %s', (name) => {
  test('multiplies matrices, and gives the gradient of a softmax', async () => {
    const choice = await useBackend(name);
    expect(choice.name).toBe(name);
    expect(tf.getBackend()).toBe(backends[name].tfjsName);
    const product = tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2]));
    expect([...(await product.data())]).toEqual([19, 22, 43, 50]);
    const first = tf.grad((x) => tf.sum(tf.slice(tf.softmax(x as tf.Tensor1D), [0], [1])));
    const slope = await first(tf.tensor1d([0, 0, 0])).data();
    // p(1-p) and -p·p at p = 1/3; float32.
    for (const [i, value] of [2 / 9, -1 / 9, -1 / 9].entries()) expect(slope[i]).toBeCloseTo(value, 6);
  });

  test('leaves no tensor behind in a tidy', async () => {
    await useBackend(name);
    const before = tf.memory().numTensors;
    const value = tf.tidy(() => tf.mean(tf.square(tf.ones([8, 8]))));
    await value.data();
    value.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

test('an unknown name is answered with the known ones and the nearest', async () => {
  const error = await useBackend('tensorflwo' as 'cpu').catch((reason: Error) => reason);
  expect(error).toMatchObject({ kind: 'bad-setting' });
  expect(String(error)).toMatch(/nearest is tensorflow/);
});

test('UNFOLD_BACKEND is what auto means, and a wrong one is said to be from there', async () => {
  vi.stubEnv('UNFOLD_BACKEND', 'cpu');
  expect((await useBackend('auto')).name).toBe('cpu');
  vi.stubEnv('UNFOLD_BACKEND', 'fast');
  await expect(useBackend('auto')).rejects.toThrow(/^UNFOLD_BACKEND/);
});

test('a choice is said once and remembered', async () => {
  const said: string[] = [];
  const context = { ...silent(), note: (line: string) => said.push(line) };
  await closeBackend();
  await useBackend('cpu', context);
  await useBackend('cpu', context);
  expect(said).toEqual(['backend cpu: asked for; plain JavaScript, one thread']);
  expect(currentBackend()?.name).toBe('cpu');
});

test('every backend says whether it can run, and what to do if not', async () => {
  for (const name of BACKEND_NAMES) {
    const { usable, detail, remedy } = await backends[name].availability();
    expect(detail, name).not.toBe('');
    if (!usable) expect(remedy, name).toBeTruthy();
  }
});

test('without the native addon another backend is chosen, with a warning and its remedy', async () => {
  const program = `
    const { useBackend } = await import('./src/tensor/backend.ts');
    console.log(JSON.stringify(await useBackend('auto')));`;
  const args = ['--import', 'tsx', '--input-type=module', '-e', program];
  const env = { ...process.env, UNFOLD_NATIVE: '0', UNFOLD_CACHE: '/nonexistent', UNFOLD_BACKEND: 'auto' };
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  const choice = JSON.parse(stdout.trim().split('\n').at(-1)!);
  expect(choice.name).not.toBe('native');
  expect(choice.warnings.at(-1)).toMatch(/backend native cannot run/);
  expect(choice.remedies.at(-1)).toBeTruthy();
});
