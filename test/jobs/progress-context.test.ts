import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { JobProgress } from '../../src/jobs/progress.ts';
import { jobContext } from '../../src/jobs/progress-context.ts';
import type { FromChild } from '../../src/jobs/protocol.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function watched() {
  const sent: FromChild[] = [];
  const context = jobContext((message) => sent.push(message), new AbortController().signal);
  const progress = () =>
    sent.flatMap((message): JobProgress[] => (message.type === 'progress' ? [message.progress] : []));
  return { context, sent, progress };
}

it('sends at most two states a second, and always the last one', () => {
  const { context, progress } = watched();
  const bar = context.bar('train', 10_000, 'tokens');
  for (let i = 1; i <= 1000; i++) {
    vi.advanceTimersByTime(10);
    bar.update(10 * i, `step ${i}`);
  }
  expect(progress().length).toBeGreaterThanOrEqual(19);
  expect(progress().length).toBeLessThanOrEqual(21);
  vi.advanceTimersByTime(500);
  expect(progress().at(-1)).toMatchObject({ done: 10_000, total: 10_000, note: 'step 1000', eta: 0 });
  expect(vi.getTimerCount()).toBe(0);
});

it('sends a state that came too soon once its time is there, without another', () => {
  const { context, progress } = watched();
  const bar = context.bar('harvest', 100, 'tokens');
  bar.update(50);
  expect(progress().at(-1)?.done).toBe(0);
  vi.advanceTimersByTime(500);
  expect(progress().at(-1)?.done).toBe(50);
});

it('counts rate and time left from what this process did', () => {
  const { context, progress } = watched();
  const bar = context.bar('train', 1000, 'tokens', 600);
  vi.advanceTimersByTime(2000);
  bar.update(800);
  expect(progress().at(-1)).toMatchObject({ label: 'train', unit: 'tokens', rate: 100, eta: 2 });
  bar.finish('over');
  expect(progress().at(-1)).toMatchObject({ done: 800, note: 'over', eta: 0 });
});

it('keeps facts until there are newer ones, and leaves out what is no number', () => {
  const { context, progress } = watched();
  const bar = context.bar('train', 10, 'tokens');
  bar.update(1, undefined, { loss: 2, l0: 16 });
  bar.update(2, undefined, { loss: Number.NaN });
  bar.update(3);
  bar.finish();
  expect(progress().at(-1)).toMatchObject({ facts: { l0: 16 }, losses: [2] });
  expect(JSON.parse(JSON.stringify(progress().at(-1)))).not.toHaveProperty('facts.loss');
});

it('thins losses evenly to sixty, oldest first, and takes the mean of a sweep', () => {
  const { context, progress } = watched();
  const bar = context.bar('train', 1000, 'tokens');
  for (let i = 0; i < 1000; i++) bar.update(i, undefined, { 'a/loss': i, 'b/loss': i + 2 });
  bar.finish();
  const losses = progress().at(-1)!.losses!;
  expect(losses.length).toBeLessThanOrEqual(60);
  expect(losses.length).toBeGreaterThan(30);
  expect(losses[0]).toBe(1);
  const steps = losses.slice(1).map((loss, i) => loss - losses[i]!);
  expect(new Set(steps).size).toBe(1);
  expect(Buffer.byteLength(JSON.stringify(progress().at(-1)))).toBeLessThan(2048);
});

it('makes notes and warnings lines of the log', () => {
  const { context, sent } = watched();
  context.note('sixteen shards');
  context.warn('dead latents');
  expect(sent).toEqual([
    { type: 'log', level: 'note', text: 'sixteen shards' },
    { type: 'log', level: 'warn', text: 'dead latents' },
  ]);
});
