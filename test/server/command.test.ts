import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startRedis, type TestRedis } from '../support/redis.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

function serve(...args: string[]): ChildProcess {
  const line = ['--import', 'tsx', 'src/cli/main.ts', 'serve', '--queue', redis.url, '--port', '0', ...args];
  return spawn(process.execPath, line, { stdio: ['ignore', 'pipe', 'pipe'] });
}

it('unfold serve --json names its address in one line, and ends in order with SIGINT while pages watch', async () => {
  const child = serve('--json');
  try {
    const [line] = (await once(child.stdout!, 'data')) as [Buffer];
    const told = JSON.parse(String(line)) as { url: string; pid: number };
    expect(told).toMatchObject({ queue: redis.url, token: null, read_only: false, pid: child.pid });
    expect((await fetch(new URL('/ready', told.url))).status).toBe(200);
    const stream = await fetch(new URL('/api/events', told.url));
    const gone = once(child, 'exit');
    child.kill('SIGINT');
    expect(await gone).toEqual([0, null]);
    await stream.text().catch(() => undefined);
  } finally {
    child.kill('SIGKILL');
  }
});

it('a server for other machines prints the address with its token', async () => {
  const child = serve('--host', '0.0.0.0');
  try {
    let said = '';
    for await (const part of child.stdout!) {
      said += String(part);
      if (said.includes('Ctrl-C')) break;
    }
    const [, address, token] = /serves (http:\/\/\S+\/)\?token=([0-9a-f]{32})/.exec(said) ?? [];
    const url = address!.replace('0.0.0.0', '127.0.0.1');
    expect((await fetch(url)).status).toBe(401);
    expect((await fetch(url, { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
  } finally {
    child.kill('SIGKILL');
  }
});

it('needs no tensors: nothing of tfjs is loaded', async () => {
  const code = `await import('./src/server/server.ts');
    const { createRequire } = await import('node:module');
    console.log(JSON.stringify(Object.keys(createRequire(import.meta.url).cache).filter((path) => /tfjs|native.*node$/.test(path))));
    console.log(globalThis._tfGlobals === undefined);`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  for await (const part of child.stdout) said += String(part);
  expect(said.trim().split('\n')).toEqual(['[]', 'true']);
});
