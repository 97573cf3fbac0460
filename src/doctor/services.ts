/**
 * @file What Unfold may talk to: the tokeniser library, Hugging Face's cache, Redis (only for the queue).
 */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { silent } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { exists } from '../files.ts';
import { ask } from '../jobs/redis/ask.ts';
import { connectRedis, hangUp } from '../jobs/redis/connect.ts';
import { GET_REDIS, serverProgram } from '../jobs/redis/find-server.ts';
import { judgeServers, tryWriting } from '../jobs/redis/judge.ts';
import { privatePlace } from '../jobs/redis/place.ts';
import { parseRedisUrl } from '../jobs/redis/url.ts';
import { shownText } from '../shown-url.ts';
import { runProgram } from '../tensor/install/process.ts';
import type { Finding } from './contract.ts';

const PING_TIMEOUT = 2000;

/** Tokeniser, hub cache, Redis's program and server. */
export async function serviceFindings(): Promise<Finding[]> {
  return [await tokenizerFinding(), await hubFinding(), await redisProgram(), ...(await redisServers())];
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
  const line = { area: 'services', name: 'redis-server' };
  const program = await serverProgram();
  if (program === undefined) {
    const remedy = `needed only for a job queue on this machine; ${GET_REDIS}`;
    return { ...line, state: 'info', found: 'not on the PATH', remedy };
  }
  const { stdout } = await runProgram(program, ['--version'], { timeout: 5000 });
  return { ...line, state: 'ok', found: `${program}, version ${/v=(\S+)/.exec(stdout)?.[1] ?? 'unknown'}` };
}

/** The queue that commands would use, and REDIS_URL, which they use only when told to. */
async function redisServers(env: NodeJS.ProcessEnv = process.env): Promise<Finding[]> {
  const { REDIS_URL, UNFOLD_QUEUE } = env;
  const findings = [UNFOLD_QUEUE ? await redisFinding(UNFOLD_QUEUE, 'UNFOLD_QUEUE') : await privateFinding()];
  if (!REDIS_URL || UNFOLD_QUEUE) return findings;
  const finding = await redisFinding(REDIS_URL, 'REDIS_URL');
  const found = `${finding.found}; used only with --queue "$REDIS_URL"`;
  return [...findings, { ...finding, name: 'REDIS_URL', found }];
}

async function privateFinding(): Promise<Finding> {
  const place = privatePlace();
  if ((await ask(place.socket)) !== 'gone') return redisFinding(place.url, 'the private Redis');
  const found = 'none is named, the private one does not run: the first command that needs it starts it';
  return { area: 'services', name: 'queue', state: 'info', found };
}

/**
 * Whether the Redis at a URL answers, and whether it can hold a queue.
 * @param by who names it, for messages; @param timeout milliseconds for its first answer
 */
export async function redisFinding(url: string, by: string, timeout = PING_TIMEOUT): Promise<Finding> {
  const line = { area: 'services', name: 'queue' };
  try {
    const address = parseRedisUrl(url, by);
    const client = await connectRedis(address, silent(AbortSignal.timeout(5 * timeout)), timeout);
    try {
      const { servers, judgements } = await judgeServers(client, address);
      await tryWriting(client, address);
      const version = servers.map((facts) => `${facts.software} ${facts.version}`).join(', ');
      const worst = judgements.find(({ severity }) => severity !== 'note');
      if (worst === undefined) return { ...line, state: 'ok', found: `${address.shown} answers: ${version}` };
      const found = `${address.shown}, ${version}: ${worst.lesson.found}`;
      return { ...line, state: 'warning', found, remedy: worst.lesson.todo };
    } finally {
      hangUp(client);
    }
  } catch (error) {
    if (!(error instanceof UnfoldError)) {
      return { ...line, state: 'warning', found: shownText(`${by}: ${(error as Error).message}`) };
    }
    const { where, found, todo } = error.lesson;
    return { ...line, state: 'warning', found: `${where}: ${found}`, remedy: todo };
  }
}
