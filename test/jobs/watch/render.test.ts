/** @file The table of flows at fixed sizes, and the command that prints it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify, stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { WorkerRecord } from '../../../src/jobs/names.ts';
import { sparkline } from '../../../src/jobs/watch/cells.ts';
import { type RenderOptions, renderFlows } from '../../../src/jobs/watch/render.ts';
import { snapshot } from '../../../src/jobs/watch/snapshot.ts';
import type { FlowView } from '../../../src/jobs/watch/view.ts';
import { direct, makeWorld, smallFlow, stage, type World } from './world.ts';

const FLOW = 'tiny-0a1b2c3d';
const root = join(import.meta.dirname, '../../..');
let world: World;

beforeAll(async () => {
  world = await makeWorld();
});
beforeEach(async () => {
  await world.connection.client.flushall();
});
afterAll(() => world.close());

const WORKER: WorkerRecord = {
  ...{
    id: 'w1',
    host: 'ada',
    pid: 77,
    unfold: '0.1.0',
    stages: [],
    tags: [],
    concurrency: 2,
    backend: 'cpu',
  },
  ...{ jobs: [], rss_bytes: 1, completed: 0, failed: 0, stopping: false, seen: 0, started: 0 },
};

/** Without colours, and without times that differ from run to run. */
function drawn(flows: FlowView[], options: Partial<RenderOptions> = {}, workers = [WORKER]): string {
  for (const flow of flows) delete flow.seconds;
  return stripVTControlCharacters(renderFlows(flows, workers, { now: 0, ...options }));
}

/** A flow with one part running, one done; and a probe that failed. */
async function addSome(): Promise<void> {
  await world.add(smallFlow(FLOW));
  await (await world.take('harvest')).complete();
  const { job } = await world.take('harvest');
  const worker = { id: 'w1', host: 'ada', pid: 77, child: 78 };
  await job.updateProgress({
    ...{ done: 50, total: 100, unit: 'tokens', rate: 12_345, eta: 75, facts: { loss: 0.25123 } },
    ...{ worker, note: 'shard 2 of 3' },
  });
  await world.add({ message: direct('probe-00000001'), options: { timestamp: 1 } });
  await (await world.take('probe')).fail(
    'datasets/x.txt\n  expected  a file\n  found     nothing\n  to mend   make it',
  );
}

async function seen(): Promise<FlowView[]> {
  const flows = await snapshot(world.connection);
  for (const job of flows.flatMap(({ roots }) => roots)) if (job.finished) job.seconds = 3;
  for (const part of flows[0]?.roots[0]?.children[0]?.children[0]?.children ?? []) {
    if (part.worker) delete part.worker.lost;
  }
  return flows;
}

test('a small flow: stages in the order of work, parts that have something to tell below theirs', async () => {
  await addSome();
  expect(`\n${drawn(await seen(), { width: 130 })}\n`).toMatchInlineSnapshot(`
    "
    job                   state   progress           rate            time       loss    worker  note
    tiny-0a1b2c3d         active  ████░░░░░░░░  37%                                             runs/test
      harvest             waits   █████████░░░  75%  12.3k tokens/s  ETA 1m15s                  2 parts, 1 done, 1 active
        shards-2-3        active  ██████░░░░░░  50%  12.3k tokens/s  ETA 1m15s  0.2512  ada:77  shard 2 of 3
      train               waits                                                                 for harvest
      pipeline            waits                                                                 for train
    probe-00000001.probe  failed                                     took 3s                    datasets/x.txt; nothing

    2 flows: 1 active, 1 failed; 1 worker on ada, 0 of 2 slots busy
    "
  `);
});

test('in 72 columns less important columns go, and notes are shortened', async () => {
  await addSome();
  const table = drawn(await seen(), { width: 72 });
  expect(`\n${table}\n`).toMatchInlineSnapshot(`
    "
    job                   state   progress           time       note
    tiny-0a1b2c3d         active  ████░░░░░░░░  37%             runs/test
      harvest             waits   █████████░░░  75%  ETA 1m15s  2 parts, 1 …
        shards-2-3        active  ██████░░░░░░  50%  ETA 1m15s  shard 2 of 3
      train               waits                                 for harvest
      pipeline            waits                                 for train
    probe-00000001.probe  failed                     took 3s    datasets/x.…

    2 flows: 1 active, 1 failed; 1 worker on ada, 0 of 2 slots busy
    "
  `);
  expect(Math.max(...table.split('\n').map((line) => line.length))).toBeLessThanOrEqual(72);
});

test('where the terminal is too low, running flows come first and the rest is counted', async () => {
  for (let index = 0; index < 30; index++) await world.add({ message: direct(`p${index}-00000001`) });
  await world.take('probe');
  const table = drawn(await seen(), { width: 80, height: 10 });
  expect(table.split('\n').length).toBeLessThan(10);
  expect(table).toContain('… and 25 rows more');
  expect(table.split('\n')[1]).toMatch(/^p0-00000001.probe +active/);
});

test('every part has its row when asked for', async () => {
  await world.add(smallFlow(FLOW));
  expect(drawn(await seen())).not.toContain('shards-2-3');
  expect(drawn(await seen())).toContain('2 parts, 2 waiting');
  expect(drawn(await seen(), { parts: true })).toMatch(/shards-0-1 +waiting\n +shards-2-3 +waiting/);
});

test('jobs that no worker takes are told of, with the command that starts one', async () => {
  await world.add({ message: { ...stage(FLOW, 'train'), tags: ['gpu'] } });
  expect(drawn(await seen())).toMatch(
    /waiting for a worker that takes train@gpu: .*unfold worker --tags gpu/,
  );
  expect(drawn(await seen(), {}, [{ ...WORKER, tags: ['gpu'] }])).not.toContain('waiting for a worker');
  expect(drawn([], {}, [])).toBe('no jobs; no workers');
});

test('escape sequences from the queue do not reach the terminal', async () => {
  await world.add({ message: direct('fine-00000001') });
  await world.queue('probe').add('x', {}, { jobId: '\u001b[2Jevil' });
  const table = renderFlows(await snapshot(world.connection), [], { now: 0 });
  expect(table).not.toContain('\u001b[2J');
  expect(table).toContain('[2Jevil');
});

test('a sparkline runs from the least to the greatest loss', () => {
  expect(sparkline([8, 4, 2, 1])).toBe('█▄▂▁');
  expect(sparkline([1])).toBe('');
  expect(sparkline([3, 3])).toBe('▁▁');
});

test('unfold jobs prints one table into a pipe, and one JSON value with --json', {
  timeout: 60_000,
}, async () => {
  await addSome();
  const unfold = async (...args: string[]) => {
    const all = ['--import', 'tsx', join(root, 'src/cli/main.ts'), 'jobs', ...args, '--queue', world.url];
    return (await promisify(execFile)(process.execPath, all, { cwd: root })).stdout;
  };
  expect(await unfold()).toMatch(/probe-00000001.probe +failed .*datasets\/x.txt; nothing/);
  const { flows, workers } = JSON.parse(await unfold('--state', 'failed', '--json'));
  expect(flows).toMatchObject([{ id: 'probe-00000001', state: 'failed', roots: [{ attempts: 1 }] }]);
  expect(workers).toEqual([]);
  const { cancelled, asked } = JSON.parse(await unfold('cancel', 'tiny', '--reason', 'a test', '--json'));
  expect({ cancelled, asked: asked.length }).toEqual({ cancelled: [], asked: 1 });
  expect(await unfold('show', FLOW)).toMatch(/shards-2-3 +active .*being cancelled/);
});
