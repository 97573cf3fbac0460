/**
 * @file One file of the hub into the cache: it goes on where an earlier attempt stopped (`.incomplete`, as
 * huggingface_hub names it), shows progress, and gets its name only when its checksum is right. Two processes that want
 * the same file take turns.
 */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Dispatcher } from 'undici';
import type { ProgressBar, StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { exists, explainDisk, sha256File } from '../../files.ts';
import { makeFolder } from '../../folders.ts';
import { lockPath } from '../../lock.ts';
import { assertMayPublish } from '../../write-guard.ts';
import { flat, isPassing, openBody, pause, type RemoteFile } from './client.ts';
import { unreachable } from './errors.ts';
import type { HubSettings } from './settings.ts';

/** Attempts that may bring no new byte before giving up; one that brings some starts the count again. */
const IDLE_ATTEMPTS = 5;
/** Smaller files come without a bar. */
const WORTH_A_BAR = 2 ** 20;

/**
 * Fetches a file to `path`, unless it is there.
 * @throws UnfoldError `bad-checksum` (the bytes are thrown away), `no-network` (they are kept), `disk-full`, `hub-error`
 */
export async function download(
  remote: RemoteFile,
  path: string,
  label: string,
  settings: HubSettings,
  context: StageContext,
): Promise<void> {
  await makeFolder(dirname(path));
  const lock = await lockPath(`${path}.lock`, { signal: context.signal, wait: Number.POSITIVE_INFINITY });
  try {
    if (await exists(path)) return;
    const part = `${path}.incomplete`;
    await checkSpace(remote, part);
    await fetchAll(remote, part, label, settings, context);
    await verify(remote, part);
    // Held back by a process that may have lost its lock on the download while it slept: the next one checks the file again.
    assertMayPublish();
    await rename(part, path);
  } finally {
    await lock.release();
  }
}

async function fetchAll(
  remote: RemoteFile,
  part: string,
  label: string,
  settings: HubSettings,
  context: StageContext,
) {
  const bar: { now?: ProgressBar } = {};
  for (let idle = 0; ; ) {
    let before = await sizeOf(part);
    if (remote.bytes !== undefined && before > remote.bytes) {
      await rm(part);
      before = 0;
    }
    if (before > 0 && before === remote.bytes) break;
    let after: string | undefined;
    try {
      after = await fetchRest(remote, part, before, label, bar, settings, context);
      if (after === undefined) break;
    } catch (error) {
      const explained = explainDisk(error, part);
      if (context.signal.aborted || explained instanceof UnfoldError) throw explained;
      idle = (await sizeOf(part)) > before ? 0 : idle + 1;
      if (idle >= IDLE_ATTEMPTS) throw unreachable(remote.url, await sizeOf(part), error);
    }
    await pause(idle, after, settings, context.signal);
  }
  bar.now?.finish();
}

/** Reads on from byte `from`. Returns undefined when done; throws when it has to be tried again or given up. */
async function fetchRest(
  remote: RemoteFile,
  part: string,
  from: number,
  label: string,
  bar: { now?: ProgressBar },
  settings: HubSettings,
  context: StageContext,
): Promise<string | undefined> {
  const response = await openBody(remote.url, from, settings, context.signal);
  const resumed = response.statusCode === 206;
  if (response.statusCode !== 200 && !resumed) return judge(response, remote, part);
  const total = remote.bytes ?? 0;
  // A server that ignores Range sends the whole again.
  let done = resumed ? from : 0;
  if (total >= WORTH_A_BAR) bar.now ??= context.bar(`download ${label}`, total, 'bytes', done);
  response.body.on('data', (chunk: Buffer) => {
    done += chunk.length;
    bar.now?.update(done);
  });
  await pipeline(response.body, createWriteStream(part, { flags: resumed ? 'a' : 'w' }), {
    signal: context.signal,
  });
  if (remote.bytes !== undefined && done < remote.bytes)
    throw new Error(`the connection ended after ${done} bytes`);
  return undefined;
}

async function judge(response: Dispatcher.ResponseData, remote: RemoteFile, part: string): Promise<string> {
  await response.body.dump();
  const status = response.statusCode;
  // 416: what is here does not fit what is there.
  if (status === 416) await rm(part, { force: true });
  if (isPassing(status) || status === 416) throw new Error(`HTTP ${status}`);
  throw new UnfoldError('hub-error', {
    where: remote.url,
    expected: 'the file',
    found: `HTTP ${status}${flat(response.headers)['x-error-message'] ?? ''}`,
    todo: 'run the command again; if it happens again, check HF_ENDPOINT and HF_TOKEN',
  });
}

/** Size, then SHA-256 or git's blob hash, whichever the content id is. */
async function verify({ url, etag, bytes }: RemoteFile, part: string): Promise<void> {
  const size = await sizeOf(part);
  const found = await digest(part, etag);
  if ((bytes === undefined || size === bytes) && (found === undefined || found === etag)) return;
  await rm(part);
  throw new UnfoldError('bad-checksum', {
    where: url,
    expected: `${bytes ?? '?'} bytes with the checksum ${etag ?? '(none given)'}`,
    found: `${size} bytes with ${found ?? 'no checksum to compare'}`,
    todo: 'run the command again; if it happens again, the server or a proxy on the way changes the file',
  });
}

async function digest(part: string, etag: string | undefined): Promise<string | undefined> {
  if (etag !== undefined && /^[0-9a-f]{64}$/.test(etag)) return sha256File(part);
  if (etag === undefined || !/^[0-9a-f]{40}$/.test(etag)) return undefined;
  const bytes = await readFile(part);
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

async function checkSpace({ bytes }: RemoteFile, part: string): Promise<void> {
  if (bytes === undefined) return;
  const { bavail, bsize } = await statfs(dirname(part));
  const needed = bytes - (await sizeOf(part));
  if (needed <= bavail * bsize) return;
  throw new UnfoldError('disk-full', {
    where: dirname(part),
    expected: `${needed} bytes free for the download`,
    found: `${bavail * bsize} bytes`,
    todo: 'free space, or set HF_HUB_CACHE to a folder on another disk',
  });
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}
