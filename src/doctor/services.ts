/**
 * @file What Unfold may talk to: the tokeniser library, Hugging Face's cache, Redis (only for the queue).
 */
import net from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { exists } from '../files.ts';
import { runProgram } from '../tensor/install/process.ts';
import type { Finding } from './contract.ts';

const PING_TIMEOUT = 2000;

/** Tokeniser, hub cache, Redis's program and server. */
export async function serviceFindings(): Promise<Finding[]> {
  return [await tokenizerFinding(), await hubFinding(), await redisProgram(), await redisServer()];
}

async function tokenizerFinding(): Promise<Finding> {
  const line = { area: 'services', name: 'tokenizers' };
  try {
    await import('tokenizers');
    return { ...line, state: 'ok', found: "Hugging Face's library loads" };
  } catch (error) {
    const found = `does not load: ${(error as Error).message.split('\n')[0]}`;
    return { ...line, state: 'problem', found, remedy: 'npm ci, without --omit=optional' };
  }
}

/** Where models by name are kept: as huggingface_hub decides it. */
export function hubCache(environment: NodeJS.ProcessEnv = process.env): string {
  const { HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = environment;
  if (HF_HUB_CACHE) return HF_HUB_CACHE;
  return join(HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'), 'hub');
}

async function hubFinding(): Promise<Finding> {
  const path = hubCache();
  const offline = /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '');
  const found = `${path}${(await exists(path)) ? '' : ' (not there yet)'}${offline ? ', offline by HF_HUB_OFFLINE' : ''}`;
  return { area: 'services', name: 'hub cache', state: 'ok', found };
}

async function redisProgram(): Promise<Finding> {
  const { code, stdout } = await runProgram('redis-server', ['--version'], { timeout: 5000 });
  const line = { area: 'services', name: 'redis-server' };
  const version = /v=(\S+)/.exec(stdout)?.[1];
  if (code === 0) return { ...line, state: 'ok', found: `version ${version ?? 'unknown'}` };
  const remedy = 'needed only to run jobs on several machines; Debian: apt-get install redis-server';
  return { ...line, state: 'info', found: 'not on the PATH', remedy };
}

async function redisServer(): Promise<Finding> {
  const url = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379';
  const where = url.replace(/\/\/[^@/]*@/, '//');
  const line = { area: 'services', name: 'Redis' };
  const answer = await pingRedis(url);
  if (answer === 'PONG') return { ...line, state: 'ok', found: `${where} answers` };
  const state = process.env.REDIS_URL ? 'warning' : 'info';
  const remedy = process.env.REDIS_URL
    ? 'start the server, or correct REDIS_URL'
    : 'needed only to run jobs on several machines; redis-server starts one, REDIS_URL names another';
  return { ...line, state, found: `${where}: ${answer}`, remedy };
}

/**
 * Sends PING, with AUTH before it if the address has a password.
 * @param url `redis://`, `rediss://` (TLS) or `unix:///path/to.sock`
 * @returns `PONG`, or what went wrong
 */
export function pingRedis(url: string, timeout = PING_TIMEOUT): Promise<string> {
  return new Promise((resolve) => {
    let socket: net.Socket;
    let password = '';
    let username = '';
    try {
      const address = new URL(url);
      [username, password] = [decodeURIComponent(address.username), decodeURIComponent(address.password)];
      socket = connect(address);
    } catch (error) {
      resolve((error as Error).message);
      return;
    }
    const end = (answer: string) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(timeout, () => end(`no answer in ${timeout / 1000} s`));
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.on('close', () => end('the connection was closed'));
    let text = '';
    socket.setEncoding('utf8').on('data', (part) => {
      text += part;
      const last = text.split('\r\n').at(-2);
      if (last === '+PONG') end('PONG');
      else if (last?.startsWith('-')) end(last.slice(1));
    });
    const auth = password ? command('AUTH', ...(username ? [username] : []), password) : '';
    socket.write(auth + command('PING'));
  });
}

function connect({ protocol, hostname, port, pathname }: URL): net.Socket {
  if (protocol === 'unix:') return net.connect(pathname);
  const target = { host: hostname.replace(/^\[|\]$/g, '') || '127.0.0.1', port: Number(port || 6379) };
  if (protocol === 'redis:') return net.connect(target);
  if (protocol === 'rediss:')
    return tls.connect({ ...target, servername: net.isIP(target.host) ? '' : target.host });
  throw new Error(`an address that starts with redis://, rediss:// or unix://, not ${protocol}`);
}

/** Redis's wire format for a command: an array of bulk strings. */
function command(...words: string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}
