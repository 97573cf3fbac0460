/**
 * @file A large file from the network: goes on where an earlier attempt stopped (HTTP Range), shows progress, and is
 * only given its name once its SHA-256 is right.
 */
import { open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProgressBar, StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { exists, explainDisk, sha256File } from '../../files.ts';
import { makeFolder } from '../../folders.ts';
import { get } from './http.ts';

/** Attempts that may bring no new byte before giving up; one that brings some starts the count again. */
const IDLE_ATTEMPTS = 4;

/** What to fetch and how to know that it is right. */
export interface DownloadRequest {
  url: string;
  /** Where the file goes; unfinished bytes are kept beside it as `.part`. */
  path: string;
  /** SHA-256 of the whole, hex. */
  sha256: string;
  /** What the progress bar calls it. */
  label: string;
}

/**
 * Fetches a file, or does nothing when it is there with the right checksum.
 * @throws UnfoldError `bad-checksum` (the bytes are thrown away), `no-network` (the bytes are kept for the next run),
 * `disk-full`
 */
export async function download(wanted: DownloadRequest, context: StageContext): Promise<void> {
  if ((await exists(wanted.path)) && (await sha256File(wanted.path)) === wanted.sha256) return;
  const part = `${wanted.path}.part`;
  await makeFolder(dirname(part));
  await fetchAll(wanted, part, context);
  const found = await sha256File(part);
  if (found !== wanted.sha256) {
    await rm(part);
    throw new UnfoldError('bad-checksum', {
      where: wanted.url,
      expected: `SHA-256 ${wanted.sha256}`,
      found: `SHA-256 ${found}`,
      todo: 'run the command again; if it happens again, the server or a proxy on the way changes the file',
    });
  }
  await rename(part, wanted.path);
}

async function fetchAll(wanted: DownloadRequest, part: string, context: StageContext): Promise<void> {
  const meter: { bar?: ProgressBar } = {};
  let idle = 0;
  for (;;) {
    const before = await sizeOf(part);
    try {
      await fetchRest(wanted, part, before, meter, context);
      meter.bar?.finish();
      return;
    } catch (error) {
      if (context.signal.aborted || error instanceof UnfoldError) throw error;
      const explained = explainDisk(error, part);
      if (explained instanceof UnfoldError) throw explained;
      idle = (await sizeOf(part)) > before ? 0 : idle + 1;
      if (idle >= IDLE_ATTEMPTS) throw unreachable(wanted, await sizeOf(part), error);
      await sleep(250 * 2 ** idle, undefined, { signal: context.signal });
    }
  }
}

/** One request for the bytes from `from` on; resolves when the server says that these were all. */
async function fetchRest(
  wanted: DownloadRequest,
  part: string,
  from: number,
  meter: { bar?: ProgressBar },
  context: StageContext,
): Promise<void> {
  const headers = from > 0 ? { range: `bytes=${from}-` } : undefined;
  const { statusCode, headers: answer, body } = await get(wanted.url, headers, context.signal);
  if (statusCode === 416) {
    await body.dump();
    return; // Nothing follows our bytes: the checksum judges them.
  }
  if (statusCode !== 200 && statusCode !== 206) {
    await body.dump();
    if (statusCode >= 500 || statusCode === 429) throw new Error(`HTTP ${statusCode}`);
    throw unreachable(wanted, from, new Error(`HTTP ${statusCode}`));
  }
  const start = statusCode === 206 ? from : 0; // A server without ranges sends everything again.
  const total = start + Number(answer['content-length'] ?? 0);
  meter.bar ??= context.bar(wanted.label, total, 'B', start);
  let done = start;
  const file = await open(part, start > 0 ? 'a' : 'w');
  try {
    for await (const chunk of body) {
      await file.writeFile(chunk as Buffer); // Each chunk at once: a broken connection loses nothing that came.
      done += (chunk as Buffer).length;
      meter.bar?.update(done);
    }
  } finally {
    await file.close();
  }
  if (answer['content-length'] && done < total)
    throw new Error(`the connection ended at byte ${done} of ${total}`);
}

function unreachable({ url }: DownloadRequest, bytes: number, cause: unknown): UnfoldError {
  const message = cause instanceof Error ? cause.message || String(cause) : String(cause);
  return new UnfoldError('no-network', {
    where: url,
    expected: 'the file from the server',
    found: `${message} (${bytes} bytes so far are kept)`,
    todo: 'check the network, HTTPS_PROXY and the address, then run the command again: it goes on where it stopped',
    cause,
  });
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}
