/**
 * @file Files as streams of text: gzip is looked through, UTF-8 is checked, and what is not text is refused with its
 * place. A byte-order mark at the beginning is dropped.
 */
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { UnfoldError } from '../../errors.ts';
import type { ReadOptions, SourceFile } from './format.ts';

const READ_BYTES = 256 * 1024;

/** The file's bytes, gunzipped where its name ends in `.gz`. Errors of the file system pass through. */
function openBytes(file: SourceFile, advance: ReadOptions['advance']): AsyncIterable<Uint8Array> {
  const raw = readChunks(file, advance);
  if (!file.path.endsWith('.gz')) return raw;
  const unzipped = createGunzip({ chunkSize: READ_BYTES });
  // An error of either reaches whoever reads `unzipped`.
  pipeline(raw, unzipped, () => {});
  return unzipped;
}

/** The file as it is, chunk by chunk. */
export async function* readChunks(
  file: SourceFile,
  advance: ReadOptions['advance'],
): AsyncGenerator<Uint8Array> {
  for await (const chunk of createReadStream(file.path, {
    highWaterMark: READ_BYTES,
  }) as AsyncIterable<Buffer>) {
    advance(chunk.length);
    yield chunk;
  }
}

/**
 * The file's text, piece by piece.
 * @throws UnfoldError `bad-text` for NUL bytes, ill-formed UTF-8 and broken gzip, with the byte's place.
 */
export async function* openText(
  file: SourceFile,
  options: Pick<ReadOptions, 'advance' | 'signal'>,
): AsyncGenerator<string> {
  try {
    yield* decodeText(openBytes(file, options.advance), file.path, options.signal);
  } catch (cause) {
    throw explainGzip(cause, file);
  }
}

/** Bytes of UTF-8 from anywhere as text; `where` names them in errors, see {@link openText}. */
export async function* decodeText(
  bytes: AsyncIterable<Uint8Array>,
  where: string,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let at = 0;
  for await (const chunk of bytes) {
    if (signal.aborted) throw signal.reason;
    refuseNul(where, chunk, at);
    const text = decode(decoder, where, chunk, at);
    at += chunk.length;
    if (text !== '') yield text;
  }
  const rest = decode(decoder, where, undefined, at);
  if (rest !== '') yield rest;
}

function refuseNul(where: string, chunk: Uint8Array, at: number): void {
  const nul = chunk.indexOf(0);
  if (nul >= 0) throw notText(where, `a NUL byte at byte ${at + nul}: a binary file, or UTF-16`);
}

function decode(
  decoder: InstanceType<typeof TextDecoder>,
  where: string,
  chunk: Uint8Array | undefined,
  at: number,
): string {
  try {
    return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
  } catch {
    const end =
      chunk === undefined
        ? 'a character that is cut off at the end'
        : `bytes that are not UTF-8 after byte ${at}`;
    throw notText(where, end);
  }
}

function notText(where: string, found: string): UnfoldError {
  return new UnfoldError('bad-text', {
    where,
    expected: 'text in UTF-8',
    found,
    todo: 'leave the file out, or convert it: iconv -f LATIN1 -t UTF-8 FILE > NEW (UTF-16 for files of Windows)',
  });
}

/** zlib's errors become a lesson. */
function explainGzip(error: unknown, file: SourceFile): unknown {
  const code = (error as NodeJS.ErrnoException)?.code;
  if (typeof code !== 'string' || !code.startsWith('Z_')) return error;
  return new UnfoldError('bad-text', {
    where: file.path,
    expected: 'a whole gzip file',
    found: (error as Error).message,
    todo: 'download or compress the file again',
    cause: error,
  });
}
