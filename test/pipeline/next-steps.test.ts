/** @file The commands of a report lead somewhere for whoever asked for the run, whoever did it. */
import { expect, test } from 'vitest';
import { coderSteps, sweepSteps } from '../../src/pipeline/stages/next-steps.ts';

const message = {
  settings: { model: '/home/me/models/one', text: { dataset: '/data/text' } },
  inputs: {},
  dir: '/home/me/project/runs/x/summary-12345678',
};
const commands = (steps: { command: string }[]) => steps.map(({ command }) => command.replace(/^npx /, ''));

test('paths are written from where the run was asked for, wherever the worker was started', () => {
  const [evaluate, cache] = commands(coderSteps({ ...message, reader: { cwd: '/home/me/project' } }, 'h'));
  expect(evaluate).toBe(
    'unfold evaluate --coder runs/x/train/run/final --model ../models/one --dataset /data/text --max-tokens 20000',
  );
  expect(cache).toContain('--out runs/x/prompt.safetensors');
});

test('a run in a bucket is fetched first, and no folder of a worker is named', () => {
  const reader = { cwd: '/home/me/project', url: 's3://bucket/runs/x?endpoint=http://h:9' };
  const steps = { ...message, dir: '/scratch/1/summary-12345678', reader };
  expect(commands(sweepSteps(steps, 'first'))).toEqual([
    "unfold copy 's3://bucket/runs/x?endpoint=http://h:9' runs/x",
    'unfold info runs/x/train/sweep',
    'unfold evaluate --coder runs/x/train/sweep/first/final --model ../models/one --dataset /data/text --max-tokens 20000',
  ]);
});
