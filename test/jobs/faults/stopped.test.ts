/** @file Workers that sleep past their locks (SIGSTOP, SIGCONT), and two workers at the same job. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PREFIX } from '../../../src/jobs/names.ts';
import { FaultWorld, kill, until } from './world.ts';

vi.setConfig({ testTimeout: 240_000, hookTimeout: 60_000 });

let world: FaultWorld;
beforeEach(async () => {
  world = await FaultWorld.open();
});
afterEach(() => world.close());

const WORK = { seconds: 3, steps: 60 };

/** The job ran to its end once, in the folder and in the queue, although it was begun more than once. */
async function once(name: string): Promise<void> {
  expect(world.probeFile(name)).toMatchObject({ completed: 1 });
  expect(world.events(name).filter(({ event }) => event === 'end')).toHaveLength(1);
  expect((await world.completions('probe')).get(world.probeId(name))).toBe(1);
}

const pids = (name: string) => new Set(world.events(name).map(({ pid }) => pid));

test('a worker sleeps past its lock: another has the job, goes on from the checkpoint, and no step is done twice', async () => {
  const sleeper = await world.worker().ready();
  const { root } = await world.probe('slept', WORK);
  await until(() => world.events('slept').length > 0);
  sleeper.process.kill('SIGSTOP');
  world.worker();
  expect(await world.ended(root)).toBe('completed');
  await once('slept');
  expect(pids('slept').size).toBe(2);
  sleeper.process.kill('SIGCONT');
  await world.workers[1]!.kill();
  // It finds that the job is not its any more, and takes the next one.
  const next = await world.probe('next');
  expect(await world.ended(next.root)).toBe('completed');
  await once('slept');
});

test('a worker sleeps together with its child: the job waits for its folder, and is done once', async () => {
  const sleeper = await world.worker().ready();
  const { root } = await world.probe('both', WORK);
  await until(() => world.events('both').length > 0);
  const asleep = [sleeper.pid, ...sleeper.children];
  for (const pid of asleep) kill(pid, 'SIGSTOP');
  const other = await world.worker().ready();
  await until(
    () => /put off/.test(other.text),
    30,
    () => other.text,
  );
  for (const pid of asleep) kill(pid, 'SIGCONT');
  expect(await world.ended(root)).toBe('completed');
  await once('both');
});

test('two workers are given the same job: one of them does it', async () => {
  const [first, second] = await Promise.all([world.worker().ready(), world.worker().ready()]);
  const { root } = await world.probe('same', { seconds: 5, steps: 100 });
  await until(() => world.events('same').length > 0);
  const key = `${PREFIX}:probe:${root.id}`;
  // As if the first had been silent for too long.
  await world.connection.client.del(`${key}:lock`);
  const begun = () => `${first.text}${second.text}`.split('same.probe: begun').length - 1;
  await until(() => begun() > 1, 60);
  expect(await world.ended(root)).toBe('completed');
  await once('same');
});
