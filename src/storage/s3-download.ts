/**
 * @file Reads one object: a connection that is cut in the middle is opened again where it ended, of the same object (its
 * ETag), and the bytes of a whole object are compared with the hash that was stored beside it.
 */
import { createHash } from 'node:crypto';
import { GetObjectCommand, type GetObjectCommandOutput, type S3Client } from '@aws-sdk/client-s3';
import { damaged } from './lessons.ts';
import { BYTES, SHA256 } from './s3-metadata.ts';

/** Connections that may be cut without a byte between them. */
const ATTEMPTS = 5;
const FIRST_WAIT_MS = 200;

/** What to read. */
export interface Download {
  client: S3Client;
  target: { Bucket: string; Key: string };
  url: string;
  name: string;
  /** From `start` to before `end`. */
  range?: { start: number; end?: number };
  /** The error as a lesson. */
  explain(error: unknown): unknown;
}

/** The object's bytes; the first answer has come when this returns. Throws the SDK's errors. */
export async function download(options: Download): Promise<AsyncGenerator<Uint8Array>> {
  const start = options.range?.start ?? 0;
  const first = await request(options, start);
  return body(options, first, start);
}

function request(
  { client, target, range }: Download,
  from: number,
  etag?: string,
): Promise<GetObjectCommandOutput> {
  const last = range?.end === undefined ? '' : range.end - 1;
  const Range = from > 0 || last !== '' ? `bytes=${from}-${last}` : undefined;
  return client.send(new GetObjectCommand({ ...target, Range, IfMatch: etag }));
}

async function* body(
  options: Download,
  first: GetObjectCommandOutput,
  start: number,
): AsyncGenerator<Uint8Array> {
  const { url, name, range, explain } = options;
  const expected = first.ContentLength ?? 0;
  const stored = first.Metadata?.[SHA256];
  const hash = createHash('sha256');
  let answer = first;
  let received = 0;
  for (let attempt = 1; ; attempt++) {
    const before = received;
    try {
      for await (const chunk of answer.Body as AsyncIterable<Uint8Array>) {
        received += chunk.length;
        hash.update(chunk);
        yield chunk;
      }
      if (received >= expected) break;
      throw Object.assign(new Error('the connection ended early'), { code: 'ECONNRESET' });
    } catch (error) {
      if (received > before) attempt = 1;
      if (attempt >= ATTEMPTS) throw explain(error);
      await new Promise((resolve) => setTimeout(resolve, FIRST_WAIT_MS * 2 ** (attempt - 1)));
      answer = await request(options, start + received, first.ETag).catch((again: unknown) => {
        throw explain(again);
      });
    }
  }
  if (range || stored === undefined) return;
  const found = hash.digest('hex');
  const say = (bytes: number | string, sha: string) => `${bytes} bytes, SHA-256 ${sha.slice(0, 16)}…`;
  if (found !== stored)
    throw damaged(url, name, say(first.Metadata?.[BYTES] ?? expected, stored), say(received, found));
}
