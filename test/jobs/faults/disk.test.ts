/** @file A worker's disk is full: tried again with pauses, done when there is room. */
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { canMount, type SmallDisk, smallDisk } from '../../support/small-disk.ts';
import { TinyPipeline } from './pipeline.ts';
import { FaultWorld, until } from './world.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 60_000 });

let world: FaultWorld;
let disk: SmallDisk | undefined;
afterEach(async () => {
  await world?.close();
  disk?.unmount();
});

test('a worker that may write no large file leaves the job to be tried again, and another goes on to the same bytes', async () => {
  world = await FaultWorld.open();
  const pipeline = await TinyPipeline.in(world);
  // Less than a shard.
  const limited = world.worker({}, { TSX_DISABLE_CACHE: '1' }, 400);
  const { root } = await pipeline.enqueue('out');
  await until(
    () => /harvest\S*: failed, will be tried again: EFBIG/.test(limited.text),
    60,
    () => limited.text,
  );
  await limited.kill();
  await world.worker().ready();
  expect(await world.ended(root, 150, true)).toBe('completed');
  expect(await pipeline.differences('out')).toEqual([]);
});

test.runIf(canMount)(
  'a full disk is not the end of a job: it goes on when there is room, to the same bytes',
  async () => {
    world = await FaultWorld.open();
    const pipeline = await TinyPipeline.in(world);
    disk = smallDisk(700 << 10);
    const worker = await world.worker().ready();
    const out = join(disk.dir, 'out');
    const { root } = await pipeline.enqueue(out);
    await until(
      () => /will be tried again: .*(ENOSPC|free|bytes|disk)/.test(worker.text),
      60,
      () => worker.text,
    );
    disk.resize(64 << 20);
    expect(await world.ended(root)).toBe('completed');
    expect(await pipeline.differences(out)).toEqual([]);
  },
);
