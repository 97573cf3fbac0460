/**
 * @file Settings that nobody should put into a message, for every kind of job and every stage: each ends in a lesson, and no
 * file is made. The same messages before a worker: test/jobs/worker/poison.test.ts.
 */
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silent } from '../../../src/context.ts';
import { UnfoldError } from '../../../src/errors.ts';
import { executeJob } from '../../../src/jobs/execute.ts';
import { kindNames } from '../../../src/jobs/kinds/index.ts';
import { readMessage } from '../../../src/jobs/worker/read-message.ts';
import { stages } from '../../../src/pipeline/stages/index.ts';
import { poisons } from './poisons.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'unfold-poison-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** What a worker and its child make of a message as it lies in Redis. */
async function handle(data: string, queueName: string): Promise<unknown> {
  const message = readMessage({ id: 'poison', queueName, data: JSON.parse(data) } as never);
  return executeJob(message, { scratch: join(root, 'scratch'), roots: [root] }, silent());
}

async function expectLesson(data: string, stage: string): Promise<void> {
  const error = await handle(data, stage).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UnfoldError);
  const { message, kind } = error as UnfoldError;
  expect(kind).toMatch(/^(bad-job|bad-setting|outside-root|not-visible)$/);
  expect(message.length).toBeLessThan(25_000);
  expect(await readdir(root, { recursive: true })).toEqual(['out']);
}

beforeAll(() => mkdir(join(root, 'out')));

describe.each(kindNames)('job %s', (stage) => {
  it.each(poisons)('$name', async ({ poison }) => {
    const message = { kind: 'unfold.job/1', type: 'direct', stage, flow: 'poison', tags: [], settings: {} };
    await expectLesson(poison({ ...message, out: join(root, 'out', stage) }), stage);
  });
});

describe.each(Object.values(stages))('stage $name', ({ name: stage, version }) => {
  const key = 'a'.repeat(64);
  it.each(poisons)('$name', async ({ poison }) => {
    const message = { kind: 'unfold.job/1', type: 'stage', stage, version, flow: 'poison', key, inputs: {} };
    await expectLesson(poison({ ...message, tags: [], settings: {}, out: join(root, 'out') }), stage);
  });
});
