/**
 * @file A real redis-server for a test: on a Unix socket in a folder of its own, killed with SIGKILL and brought back on
 * the same place at will. Whatever a test forgets to stop dies with the test's process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the server is to be like. */
export interface RedisOptions {
  /** Append-only file, synced at every write: what was acknowledged survives SIGKILL. Default off. */
  aof?: boolean;
  /** `tcp` listens on a free port of 127.0.0.1 (and on the socket too). Default: the socket only. */
  port?: 'tcp' | number;
  /** TLS on the TCP port: files of a certificate. */
  tls?: { cert: string; key: string; ca: string };
  /** More of redis-server's arguments. They come last and win. */
  args?: readonly string[];
}

/** A running server. */
export interface TestRedis {
  /** With the TCP port if there is one. No password in it. */
  url: string;
  /** `redis+unix://…`, always there. */
  socketUrl: string;
  /** Its data, configuration and socket. */
  dir: string;
  port: number | undefined;
  pid(): number;
  /** Sends the signal; for SIGKILL and SIGTERM resolves when the process is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** After `kill`: the same folder, socket and port. Resolves when all data is loaded. */
  restart(): Promise<void>;
  /** Kills it and removes the folder. */
  stop(): Promise<void>;
}

/** Starts a server; resolves when it takes commands. */
export async function startRedis(options: RedisOptions = {}): Promise<TestRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'ur-'));
  const port = options.port === 'tcp' ? await freePort() : options.port;
  const args = argumentsOf(options, dir, port);
  let server = await spawnRedis(args);
  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const gone = once(server, 'exit');
    server.kill(signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await gone;
  };
  const socketUrl = `redis+unix://${join(dir, 'redis.sock')}`;
  return {
    url: port === undefined ? socketUrl : `${options.tls ? 'rediss' : 'redis'}://127.0.0.1:${port}`,
    socketUrl,
    dir,
    port,
    pid: () => server.pid ?? 0,
    kill,
    async restart() {
      await kill();
      await rm(join(dir, 'redis.sock'), { force: true });
      server = await spawnRedis(args);
    },
    async stop() {
      await kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Runs `redis-server …args` until it says `ready`; for Sentinels and cluster nodes as well. */
export async function spawnRedis(
  args: readonly string[],
  ready = /ready to accept connections/i,
): Promise<ChildProcess> {
  const server = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  if (server.pid !== undefined) guard(server, server.pid);
  let said = '';
  await new Promise<void>((resolve, reject) => {
    const hear = (part: Buffer) => {
      said += part;
      if (ready.test(said)) resolve();
    };
    server.stdout.on('data', hear);
    server.stderr.on('data', hear);
    server.once('error', reject);
    server.once('exit', () => reject(new Error(`redis-server ${args.join(' ')} ended:\n${said}`)));
  });
  server.stdout.removeAllListeners('data').resume();
  server.stderr.removeAllListeners('data').resume();
  return server;
}

/** Kills the server when this process is gone, however it went: the shell's input then ends. */
function guard(server: ChildProcess, pid: number): void {
  const shell = spawn('sh', ['-c', 'read _; kill -9 "$0"', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  shell.unref();
  if (shell.stdin instanceof Socket) shell.stdin.unref();
  server.once('exit', () => shell.kill('SIGKILL'));
}

function argumentsOf(options: RedisOptions, dir: string, port: number | undefined): string[] {
  const { tls } = options;
  return [
    ...['--dir', dir, '--unixsocket', join(dir, 'redis.sock'), '--bind', '127.0.0.1', '--daemonize', 'no'],
    ...['--port', tls ? '0' : String(port ?? 0)],
    ...(tls ? ['--tls-port', String(port), '--tls-cert-file', tls.cert, '--tls-key-file', tls.key] : []),
    ...(tls ? ['--tls-ca-cert-file', tls.ca, '--tls-auth-clients', 'no'] : []),
    ...['--save', '', '--appendonly', options.aof ? 'yes' : 'no', '--appendfsync', 'always'],
    ...['--maxmemory-policy', 'noeviction', ...(options.args ?? [])],
  ];
}

/** A TCP port that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
