/**
 * @file moto (https://docs.getmoto.org), the S3 server in memory that Python's tests use: ranges, multipart uploads and
 * their aborts, paged lists, conditional writes. Of those on npm, s3rver has no aborts, no conditional writes, hangs at
 * empty objects and fails at the second page of a list.
 *
 * It is installed with pip into node_modules/.cache, once; Python and pip have to be there.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { lockPath } from '../../src/lock.ts';

const VERSION = '5.2.5';
const cache = join(import.meta.dirname, '../../node_modules/.cache');
const packages = join(cache, `moto-${VERSION}`);
const INSTALL_MS = 300_000;
const START_MS = 60_000;

/** A running server. */
export interface Moto {
  url: string;
  port: number;
  stop(): Promise<void>;
}

/** Starts one on a free port of 127.0.0.1. Whoever forgets to stop it takes it along when the process ends. */
export async function startMoto(): Promise<Moto> {
  await install();
  const port = await freePort();
  const server = spawn('python3', ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)], {
    env: { ...process.env, PYTHONPATH: packages },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const reap = () => server.kill('SIGKILL');
  process.once('exit', reap);
  const url = `http://127.0.0.1:${port}`;
  await answering(url, server);
  return {
    url,
    port,
    async stop() {
      process.off('exit', reap);
      if (server.exitCode !== null || server.signalCode !== null) return;
      const gone = once(server, 'exit');
      server.kill('SIGKILL');
      await gone;
    },
  };
}

async function answering(url: string, server: ChildProcess): Promise<void> {
  let said = '';
  server.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000);
  });
  const until = Date.now() + START_MS;
  while (Date.now() < until && server.exitCode === null) {
    const answer = await fetch(`${url}/moto-api/`).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  server.kill('SIGKILL');
  throw new Error(`moto did not start: ${said}`);
}

/** Into a folder beside, which is renamed when it is whole; test files in other processes wait. */
async function install(): Promise<void> {
  if (existsSync(packages)) return;
  await mkdir(cache, { recursive: true });
  const lock = await lockPath(join(cache, 'moto.lock'), { wait: INSTALL_MS });
  try {
    if (existsSync(packages)) return;
    const part = `${packages}.part`;
    await rm(part, { recursive: true, force: true });
    const args = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--target', part];
    const pip = promisify(execFile)('python3', [...args, `moto[s3,server]==${VERSION}`], {
      timeout: INSTALL_MS,
    });
    await pip.catch((cause: unknown) => {
      throw new Error('the tests of S3 need python3 with pip (apt-get install python3-pip)', { cause });
    });
    await rename(part, packages);
  } finally {
    await lock.release();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
