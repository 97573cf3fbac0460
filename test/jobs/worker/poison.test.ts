/** @file What nobody should put into the queue is refused once, shown with its reason, and keeps nobody from work. */
import { readdir } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KEYS, PREFIX } from '../../../src/jobs/names.ts';
import type { RunningWorker } from '../../../src/jobs/worker/worker.ts';
import { poisons } from '../kinds/poisons.ts';
import { Bench } from './support.ts';

let bench: Bench;
let worker: RunningWorker;
beforeAll(async () => {
  bench = await Bench.start();
  await bench.connection.client.sadd(KEYS.queues, 'probe', 'train', 'bad:name', '', '../../etc');
  worker = await bench.worker();
});
afterAll(() => bench.stop());

const retries = { attempts: 3, backoff: { type: 'fixed', delay: 50 } };

describe('a message that is no job', () => {
  const good = () => bench.message('good', { seconds: 0 });
  const cases: [string, () => unknown, RegExp][] = [
    ['of another program', () => ({ hello: 'world' }), /unfold\.job\/1/],
    ['null', () => null, /unfold\.job\/1/],
    ['a number', () => 5, /unfold\.job\/1/],
    ['of a later version', () => ({ ...good(), kind: 'unfold.job/2' }), /unfold\.job\/1/],
    ['of an unknown type', () => ({ ...good(), type: 'shell' }), /type/],
    ['for another queue', () => ({ ...good(), stage: 'train' }), /a message for queue train/],
    ['with tags that its queue has not', () => ({ ...good(), tags: ['gpu'] }), /queue probe@gpu/],
    ['with a field too many', () => ({ ...good(), command: 'rm -rf /' }), /command/],
    [
      'with __proto__',
      () => JSON.parse(JSON.stringify(good()).replace('{', '{"__proto__":{"a":1},')),
      /__proto__/,
    ],
    ['of a megabyte', () => ({ ...good(), settings: { text: 'x'.repeat(1 << 20) } }), /262144 bytes/],
    ['with settings that the probe has not', () => ({ ...good(), settings: { second: 1 } }), /second/],
    ['of an unknown stage', () => ({ ...good(), out: '' }), /out/],
  ];
  it.each(cases)('%s: fails once, with the reason', async (_name, data, reason) => {
    const id = await bench.add('probe', data(), retries);
    const job = await bench.reaches(id, 'failed');
    expect(job.failedReason).toMatch(reason);
    expect(job.attemptsMade).toBe(1);
    expect(job.progress).toMatchObject({ failure: { kind: expect.stringMatching(/bad-(job|setting)/) } });
  });
});

describe('a job whose fields in Redis are garbage', () => {
  const cases: [string, Record<string, string>][] = [
    ['data', { data: '{not JSON' }],
    ['data nested without end', { data: `${'['.repeat(100_000)}${']'.repeat(100_000)}` }],
    ['opts', { opts: 'nonsense' }],
    ['opts that is null', { opts: 'null' }],
    ['progress', { progress: '}{' }],
    ['parent', { parent: 'x', parentKey: 'x' }],
    ['parent of the wrong shape', { parent: '5' }],
    ['everything', { data: '\u0000\u0001', opts: '[', progress: '[', parent: '[', stacktrace: '[' }],
  ];
  it.each(cases)('%s: fails once and can be read by everybody', async (_name, fields) => {
    const client = bench.connection.client;
    await bench.queue().pause();
    const id = await bench.add('probe', bench.message('garbled', {}), retries);
    await client.hset(`${PREFIX}:probe:${id}`, fields);
    await bench.queue().resume();
    const job = await bench.reaches(id, 'failed');
    expect(job.failedReason).toMatch(/refused|bad|expected/i);
    expect(await client.lrange(`${PREFIX}:probe:active`, 0, -1)).toEqual([]);
    expect((await bench.queue().getFailed()).map((failed) => failed.id)).toContain(id);
  });

  it('a key of another kind, or none: the same', async () => {
    const client = bench.connection.client;
    for (const [id, make] of [
      ['a-string', () => client.set(`${PREFIX}:probe:a-string`, 'boo')],
      ['not-there', async () => undefined],
    ] as const) {
      await make();
      await client.lpush(`${PREFIX}:probe:wait`, id);
      expect((await bench.reaches(id, 'failed')).failedReason).toMatch(/refused|unfold\.job/);
    }
  });
});

/** One of each sort: all of them go through the same hands in test/jobs/kinds/poison.test.ts, without a process for each. */
const some = poisons.filter(({ name }) =>
  [
    'every setting 1e308',
    'every setting "NaN"',
    '__proto__ in the settings',
    'settings 200 levels deep',
    'a string of 250 kB',
    'names with control characters',
    'a folder with NUL',
    'a flow with control characters',
    'a stage called __proto__',
  ].includes(name),
);

it('poison of every sort, in one queue: each fails once, and the good job among them is done', async () => {
  const client = bench.connection.client;
  expect(some).toHaveLength(9);
  await bench.queue().pause();
  const ids: string[] = [];
  for (const { poison } of some) {
    const id = await bench.add('probe', {}, retries);
    await client.hset(`${PREFIX}:probe:${id}`, 'data', poison({ ...bench.message('poison', {}) }));
    ids.push(id);
  }
  const good = await bench.probe('among-poison', { seconds: 0 });
  await bench.queue().resume();
  await bench.reaches(good, 'completed');
  for (const [index, id] of ids.entries()) {
    const job = await bench.reaches(id, 'failed');
    expect(job.attemptsMade, some[index]!.name).toBe(1);
    expect(job.failedReason?.length).toBeLessThan(25_000);
    const kind = expect.stringMatching(/^(bad-job|bad-setting|outside-root)$/);
    expect(job.progress, some[index]!.name).toMatchObject({ failure: { kind } });
  }
  expect(await readdir(bench.dir)).toEqual(['among-poison']);
});

it('garbage where a whole queue should be is told once, and other queues are served', async () => {
  const client = bench.connection.client;
  await client.set(`${PREFIX}:train:wait`, 'not a list');
  const id = await bench.probe('after-all', { seconds: 0 });
  await bench.reaches(id, 'completed');
  await client.del(`${PREFIX}:train:wait`);
  const told = bench.notes.filter((line) => line.includes('queue train cannot be read'));
  expect(told).toHaveLength(1);
  expect(worker.summary()).toMatchObject({ completed: 2, handed_back: 0, retried: 0 });
});
