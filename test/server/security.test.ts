import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silent } from '../../src/context.ts';
import { type RunningServer, startServer } from '../../src/server/server.ts';
import { startRedis } from '../support/redis.ts';
import { stageMessage, type TestWorld, testWorld } from './world.ts';

let world: TestWorld;
let open: RunningServer;
const { id, data } = stageMessage('train');

beforeAll(async () => {
  world = await testWorld();
  await world.add('train', data, { jobId: id });
  open = await world.serve();
});
afterAll(() => world.close());

/** fetch() forbids some headers, so this asks node:http. */
function ask(server: RunningServer, path: string, headers: Record<string, string> = {}, method = 'GET') {
  return new Promise<{ status: number; text: string; headers: Record<string, unknown> }>(
    (resolve, reject) => {
      const url = new URL(path, server.url);
      const options = { host: '127.0.0.1', port: url.port, path: url.pathname + url.search, method, headers };
      request(options, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => (text += part));
        answer.on('end', () => resolve({ status: answer.statusCode!, text, headers: answer.headers }));
      })
        .on('error', reject)
        .end();
    },
  );
}

const status = async (...args: Parameters<typeof ask>) => (await ask(...args)).status;

/** What bull-board and we offer for changing something. */
const CHANGES: [method: string, path: string][] = [
  ['POST', `/api/jobs/${id}/cancel`],
  ['POST', `/api/jobs/${id}/retry`],
  ['POST', '/api/flows/demo-1a2b3c4d/cancel'],
  ['POST', '/api/queues/pause'],
  ['POST', '/api/queues/resume'],
  ['PUT', '/queues/api/queues/pause'],
  ['PUT', '/queues/api/queues/train/pause'],
  ['PUT', '/queues/api/queues/train/obliterate'],
  ['PUT', `/queues/api/queues/train/${id}/clean`],
  ['PATCH', `/queues/api/queues/train/${id}/update-data`],
];

describe('a server for this machine', () => {
  it('answers to localhost and addresses, not to foreign names (DNS rebinding)', async () => {
    for (const host of ['localhost:1', '127.0.0.1', '[::1]:7870', 'unfold.localhost']) {
      expect(await status(open, '/api/flows', { host }), host).toBe(200);
    }
    for (const host of [
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example:7870',
      'evil.example.',
    ]) {
      for (const path of ['/', '/api/flows', '/api/events', '/queues/api/queues', '/metrics', '/health']) {
        expect(await status(open, path, { host }), host + path).toBe(403);
      }
    }
  });

  it('lets no page of another site change anything (CSRF)', async () => {
    const foreign: Record<string, string>[] = [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: 'http://127.0.0.1:1' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ];
    for (const [method, path] of CHANGES) {
      for (const headers of foreign) {
        expect(await status(open, path, headers, method), path).toBe(403);
      }
    }
    expect(await world.queue('train').isPaused()).toBe(false);
    expect(await world.queue('train').getJobCountByTypes('wait')).toBe(1);
  });

  it('lets its own pages, and programs that are no browser', async () => {
    const { port } = new URL(open.url);
    const own = {
      host: `localhost:${port}`,
      origin: `http://localhost:${port}`,
      'sec-fetch-site': 'same-origin',
    };
    expect(await status(open, '/api/queues/pause', own, 'POST')).toBe(200);
    expect(await world.queue('train').isPaused()).toBe(true);
    expect(await status(open, '/api/queues/resume', {}, 'POST')).toBe(200);
    expect(await world.queue('train').isPaused()).toBe(false);
  });

  it('leads forms without script back to the page they came from, and nowhere else', async () => {
    const headers = (referer: string) => ({ accept: 'text/html', referer });
    const back = async (referer: string) =>
      (await ask(open, '/api/queues/resume', headers(referer), 'POST')).headers.location;
    expect(await back(`${open.url}flows/demo-1a2b3c4d?x=1`)).toBe('/flows/demo-1a2b3c4d');
    expect(await back('https://evil.example//other.example/')).toBe('/');
  });
});

describe('--read-only', () => {
  it('refuses every change, on our routes and on bull-board’s, and shows no buttons', async () => {
    const server = await world.serve({ readOnly: true });
    for (const [method, path] of CHANGES) expect(await status(server, path, {}, method), path).toBe(403);
    expect((await ask(server, '/')).text).not.toContain('<form');
    const board = JSON.parse((await ask(server, '/queues/api/queues')).text) as {
      queues: { readOnlyMode: boolean }[];
    };
    expect(board.queues.map(({ readOnlyMode }) => readOnlyMode)).toEqual([true]);
    expect(await world.queue('train').getJobCountByTypes('wait')).toBe(1);
  });

  it('writes nothing to Redis', async () => {
    const { client } = world.connection;
    await client.sadd('{unfold}:unfold-queues', 'never-used');
    const keys = (await client.keys('*')).sort();
    const server = await world.serve({ readOnly: true });
    for (const path of ['/', '/queues/api/queues', '/metrics', '/api/flows?all']) await ask(server, path);
    expect((await client.keys('*')).sort()).toEqual(keys);
    await client.srem('{unfold}:unfold-queues', 'never-used');
  });
});

describe('a server with a token', () => {
  it('lets nobody in without it but load balancers', async () => {
    const server = await world.serve({ token: 'correct-horse' });
    for (const path of ['/', '/api/flows', '/api/events', '/queues', '/queues/api/queues', '/metrics']) {
      expect(await status(server, path), path).toBe(401);
      expect(await status(server, path, { authorization: 'Bearer wrong-horse' }), path).toBe(401);
      expect(await status(server, path, { cookie: 'unfold_serve=correct-horse' }), path).toBe(401);
    }
    for (const path of ['/health', '/ready']) expect(await status(server, path), path).toBe(200);
    expect((await ask(server, '/', { accept: 'text/html' })).text).toContain('type="password"');
  });

  it('takes it in a header, or once in the address for a cookie, under any name', async () => {
    const server = await world.serve({ token: 'correct-horse' });
    const bearer = { authorization: 'Bearer correct-horse', host: 'lab.example' };
    expect(await status(server, '/metrics', bearer)).toBe(200);
    const first = await ask(server, '/flows/demo-1a2b3c4d?token=correct-horse&x=1');
    expect([first.status, first.headers.location]).toEqual([303, '/flows/demo-1a2b3c4d?x=1']);
    const [cookie] = first.headers['set-cookie'] as string[];
    expect(cookie).toMatch(/HttpOnly; SameSite=Lax/);
    expect(cookie).not.toContain('correct-horse');
    expect(await status(server, '/', { cookie: cookie!.split(';')[0]! })).toBe(200);
    const foreign = { cookie: cookie!.split(';')[0]!, origin: 'https://evil.example' };
    expect(await status(server, '/api/queues/pause', foreign, 'POST')).toBe(403);
  });

  it('is made up when other machines can reach it', async () => {
    const server = await world.serve({ host: '0.0.0.0' });
    expect(server.token).toMatch(/^[0-9a-f]{32}$/);
    expect(await status(server, '/')).toBe(401);
    expect(await status(server, '/', { authorization: `Bearer ${server.token}` })).toBe(200);
  });

  it('must be long enough to be one', async () => {
    await expect(world.serve({ token: 'short' })).rejects.toMatchObject({ kind: 'bad-token' });
  });
});

it('Redis’s password is on no page', async () => {
  const redis = await startRedis({ port: 'tcp', args: ['--requirepass', 'hush-hush-hush'] });
  const url = `redis://:hush-hush-hush@127.0.0.1:${redis.port}`;
  const server = await startServer({ queue: url, port: 0 }, silent());
  const paths = [
    '/',
    '/workers',
    '/disk',
    '/metrics',
    '/ready',
    '/api/flows',
    '/queues',
    '/queues/api/redis/stats',
  ];
  const texts = async () =>
    (await Promise.all(paths.map((path) => ask(server, path)))).map(({ text }) => text).join();
  expect(await texts()).not.toContain('hush');
  await redis.kill();
  expect(await texts()).not.toContain('hush');
  await server.close();
  await redis.stop();
});

it('a port that is taken is a lesson', async () => {
  const { port } = new URL(open.url);
  await expect(world.serve({ port: Number(port) })).rejects.toMatchObject({ kind: 'port-taken' });
});
