/** @file kill -9 of workers and of their children in the middle of a shard, of training, of an export. */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { preload } from '../../support/preload.ts';
import { TinyPipeline } from './pipeline.ts';
import { FaultWorld } from './world.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

/** See test/support/strike.mjs: after the second block of a shard, between two steps, at the first file of an export. */
const MOMENTS = [
  { path: '/harvest-\\w+/activations/data-[^/]*\\.part', at: 'write', nth: 2 },
  { path: '/train-\\w+/run/checkpoints/step-\\d+$', at: 'renamed', nth: 3, after: 5 },
  { path: '/train-\\w+/run/final[^/]*\\.part', at: 'open' },
];

let world: FaultWorld;
let pipeline: TinyPipeline;
beforeAll(async () => {
  world = await FaultWorld.open();
  pipeline = await TinyPipeline.in(world);
});
// Else the next test's stages would be linked from this one's folders, and nothing be there to kill.
afterEach(() => world.connection.client.flushdb());
afterAll(() => world.close());

/** Runs the pipeline into folder `who` of the world, where `who` is killed at each of the moments. */
async function disturbed(who: 'parent' | 'self'): Promise<void> {
  const marks = join(world.dir, `marks-${who}`);
  mkdirSync(marks);
  const strikes = preload('strike.mjs', {
    UNFOLD_TEST_STRIKES: JSON.stringify({ marks, who, moments: MOMENTS }),
  });
  const { root } = await pipeline.enqueue(who);
  let over = false;
  const shift = async () => {
    while (!over) {
      const worker = world.worker({}, strikes);
      await Promise.race([worker.gone, ended]);
      await worker.kill();
    }
  };
  const ended = world.ended(root, 150, true).finally(() => (over = true));
  const [how] = await Promise.all([ended, shift()]);
  expect(how).toBe('completed');
  expect(readdirSync(marks)).toHaveLength(MOMENTS.length);
  expect(await pipeline.differences(who)).toEqual([]);
}

test('workers are killed in the middle of a shard, of training, of an export: same bytes', () =>
  disturbed('parent'));

test('their children are killed at the same moments: same bytes', () => disturbed('self'));
