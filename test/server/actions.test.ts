import { afterAll, beforeAll, expect, it } from 'vitest';
import { KEYS } from '../../src/jobs/names.ts';
import type { RunningServer } from '../../src/server/server.ts';
import { getJson, stageMessage, type TestWorld, testWorld } from './world.ts';

let world: TestWorld;
let server: RunningServer;
const { id, data } = stageMessage('train');
beforeAll(async () => {
  world = await testWorld();
  await world.add('train', data, { jobId: id });
  server = await world.serve();
});
afterAll(() => world.close());

const post = async (path: string, body?: object) => {
  const init = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await fetch(new URL(path, server.url), { method: 'POST', ...init });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
};
const stateOf = async () => {
  const { flows } = await getJson<{ flows: { roots: { state: string }[] }[] }>(server, '/api/flows?all');
  return flows[0]!.roots[0]!.state;
};

it('a job is cancelled with its reason, and retried', async () => {
  const cancelled = await post(`/api/jobs/${id}/cancel`, { reason: 'wrong width' });
  expect(cancelled).toMatchObject({ status: 200, body: { cancelled: [id] } });
  expect(await stateOf()).toBe('cancelled');
  expect((await world.queue('train').getJob(id))!.failedReason).toBe(
    'cancelled by unfold serve: wrong width',
  );
  expect(await post(`/api/jobs/${id}/retry`)).toMatchObject({ status: 200, body: { retried: [id] } });
  expect(await stateOf()).toBe('waiting');
  expect(await world.connection.client.hlen(KEYS.cancel)).toBe(0);
});

it('a whole flow is, too', async () => {
  expect((await post('/api/flows/demo-1a2b3c4d/cancel')).body).toMatchObject({ cancelled: [id] });
  expect((await post('/api/flows/demo-1a2b3c4d/retry')).body).toMatchObject({ retried: [id] });
});

it('queues rest and go on, all or one stage', async () => {
  expect((await post('/api/queues/pause?stage=train')).body).toMatchObject({ queues: ['train'] });
  expect(await stateOf()).toBe('paused');
  expect((await post('/api/queues/resume')).status).toBe(200);
  expect(await stateOf()).toBe('waiting');
  expect(await post('/api/queues/pause?stage=nothing')).toMatchObject({ status: 404 });
});

it('the beginning of an id is no id: a wrong one changes nothing', async () => {
  for (const path of [
    '/api/jobs/demo/cancel',
    '/api/flows/demo-1a/cancel',
    '/api/jobs/demo-1a2b3c4d.tra/retry',
  ]) {
    expect((await post(path)).status, path).toBe(404);
  }
  expect(await stateOf()).toBe('waiting');
});
