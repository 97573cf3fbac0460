import { expect, it } from 'vitest';
import { FactReporter, type Reporting } from '../../src/train/facts.ts';
import type { MetricsLine } from '../../src/train/metrics.ts';

const line = (loss: number): MetricsLine => ({
  step: 1,
  tokens: 128,
  loss,
  l0: 16,
  explained_variance: 0.9,
  dead_latents: 2,
  lr: 1e-3,
  grad_norm: 1,
  tokens_per_second: 10,
  'explained_variance/blocks.1.hook_mlp_out': 0.8,
});

it('tells a line once, when it is new, without what is long', () => {
  const coder: { -readonly [K in keyof Reporting]: Reporting[K] } = { run: {}, line: undefined };
  const facts = new FactReporter([coder]);
  expect(facts.next()).toBeUndefined();
  coder.line = line(2);
  expect(Object.keys(facts.next()!)).toEqual(
    'step tokens loss l0 explained_variance dead_latents lr grad_norm'.split(' '),
  );
  expect(facts.next()).toBeUndefined();
  coder.line = line(2);
  expect(facts.next()).toMatchObject({ loss: 2, l0: 16 });
});

it('puts the names of several coders in front, and tells of those that have news', () => {
  const coders = ['k8', 'k16'].map((name) => ({ run: { name }, line: undefined as MetricsLine | undefined }));
  const facts = new FactReporter(coders);
  coders[1]!.line = line(3);
  expect(facts.next()).toMatchObject({ 'k16/loss': 3, 'k16/dead_latents': 2 });
  coders[0]!.line = line(4);
  expect(Object.keys(facts.next()!).every((name) => name.startsWith('k8/'))).toBe(true);
});
