/** @file Workers whose clocks are minutes off, as libfaketime makes them believe. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { TinyPipeline } from './pipeline.ts';
import { FaultWorld, has, until } from './world.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 60_000 });

/** Debian's package puts it there. The program `faketime` would stand between us and the worker. */
const library = readdirSync('/usr/lib')
  .map((place) => `/usr/lib/${place}/faketime/libfaketimeMT.so.1`)
  .find(existsSync);

/** The clock that no one sets stays true, as on a machine whose time of day is wrong. */
const by = (offset: string) => ({
  LD_PRELOAD: library,
  FAKETIME: offset,
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
});

let world: FaultWorld;
afterEach(() => world.close());

test.runIf(library !== undefined)(
  'one clock ten minutes fast, one ten minutes slow, one worker killed: same bytes, no lock lost',
  async () => {
    world = await FaultWorld.open();
    const pipeline = await TinyPipeline.in(world);
    const fast = world.worker({}, by('+10m'));
    const slow = world.worker({}, by('-10m'));
    await Promise.all([fast.ready(), slow.ready()]);
    const { root } = await pipeline.enqueue('out');
    const out = join(world.dir, 'out');
    await until(() => has(out, /^train-\w+\/run\/checkpoints\/step-\d+$/));
    // The one that trains: its work goes to the other, whose clock is twenty minutes off.
    const trainer = /\.train: begun/.test(fast.text) ? fast : slow;
    await trainer.kill();
    expect(await world.ended(root)).toBe('completed');
    expect(await pipeline.differences('out')).toEqual([]);
  },
);

test.runIf(library !== undefined)(
  'a job that is longer than its lock stays one job, though its worker’s clock is ten minutes fast',
  async () => {
    world = await FaultWorld.open();
    await Promise.all([world.worker({}, by('+10m')).ready(), world.worker().ready()]);
    const jobs = [await world.probe('a', { seconds: 6 }), await world.probe('b', { seconds: 6, busy: true })];
    for (const { root } of jobs) expect(await world.ended(root)).toBe('completed');
    for (const name of ['a', 'b']) expect(world.probeFile(name)).toMatchObject({ completed: 1, starts: 1 });
  },
);
