/**
 * @file Takes chosen members out of a zip file, each streamed to its place; the rest is never read.
 */
import { createWriteStream } from 'node:fs';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Entry, openPromise, type ZipFile } from 'yauzl';
import type { StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { explainDisk } from '../../files.ts';
import { makeFolder } from '../../folders.ts';

/**
 * @param place the path a member goes to, or undefined to leave it out. Member names are relative and without `..`
 * (yauzl refuses others).
 * @returns the names of the members taken
 * @throws UnfoldError `bad-wheel` for a file that is no zip or is cut off, `disk-full`
 */
export async function unzip(
  path: string,
  place: (member: string) => string | undefined,
  context: StageContext,
): Promise<string[]> {
  const zip = await opened(path);
  const chosen: [Entry, string][] = [];
  try {
    for await (const entry of zip.eachEntry()) {
      const target = entry.fileName.endsWith('/') ? undefined : place(entry.fileName);
      if (target) chosen.push([entry, target]);
    }
    await writeAll(zip, chosen, context);
  } catch (cause) {
    throw context.signal.aborted ? cause : explainZip(cause, path);
  } finally {
    zip.close();
  }
  return chosen.map(([entry]) => entry.fileName);
}

async function writeAll(zip: ZipFile, chosen: [Entry, string][], context: StageContext): Promise<void> {
  const total = chosen.reduce((sum, [entry]) => sum + entry.uncompressedSize, 0);
  const bar = context.bar('unpack', total, 'B');
  let done = 0;
  for (const [entry, target] of chosen) {
    await makeFolder(dirname(target));
    const count = async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        done += chunk.length;
        bar.update(done);
        yield chunk;
      }
    };
    const bytes = await zip.openReadStreamPromise(entry);
    await pipeline(bytes, count, createWriteStream(target), { signal: context.signal });
  }
  bar.finish();
}

async function opened(path: string): Promise<ZipFile> {
  try {
    return await openPromise(path, { lazyEntries: true, autoClose: false });
  } catch (cause) {
    throw explainZip(cause, path);
  }
}

function explainZip(cause: unknown, path: string): unknown {
  const explained = explainDisk(cause, path);
  if (explained !== cause || cause instanceof UnfoldError) return explained;
  return new UnfoldError('bad-wheel', {
    where: path,
    expected: 'a wheel (a zip file)',
    found: cause instanceof Error ? cause.message : String(cause),
    todo: 'download the wheel again',
    cause,
  });
}
