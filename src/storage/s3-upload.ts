/**
 * @file Puts one file into a bucket: small ones in one request, larger ones in parts, several at a time. Not
 * the SDK's lib-storage, whose Upload reports an abort before the parts are removed, cannot give each part its MD5 (the
 * only checksum that every S3-compatible server checks), and buffers a stream where a file can be read again.
 */
import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { assertMayPublish } from '../write-guard.ts';
import { noteUpload } from './begun-uploads.ts';
import type { Source } from './local-file.ts';
import { inParallel } from './parallel.ts';

const MEBIBYTE = 2 ** 20;
/** The smallest that S3 takes is 5 MiB; of files too large for 10,000 of them, larger ones. */
const PART = 8 * MEBIBYTE;
const MAX_PARTS = 10_000;
const AT_ONCE = 4;

/** What to put where. */
export interface Upload {
  client: S3Client;
  target: { Bucket: string; Key: string };
  /** URL of the bucket, with its endpoint. */
  bucket: string;
  source: Source;
  metadata: Record<string, string>;
  /** Refuse to replace, where the server can. */
  ifAbsent: boolean;
  signal?: AbortSignal;
  onBytes?(bytes: number): void;
}

/** Sends it; afterwards the object is there whole, or nothing is left. Throws the SDK's errors. @returns its ETag */
export async function upload(options: Upload): Promise<string | undefined> {
  return options.source.bytes <= PART ? putWhole(options) : putInParts(options);
}

async function putWhole({ client, target, source, metadata, ifAbsent, signal, onBytes }: Upload) {
  const body = await source.read(0, source.bytes);
  assertMayPublish();
  const { ETag } = await client.send(
    new PutObjectCommand({
      ...target,
      Body: body,
      ContentLength: body.length,
      ContentMD5: md5(body),
      Metadata: metadata,
      IfNoneMatch: ifAbsent ? '*' : undefined,
    }),
    { abortSignal: signal },
  );
  onBytes?.(body.length);
  return ETag;
}

async function putInParts(options: Upload): Promise<string | undefined> {
  const { client, target, metadata, ifAbsent, signal } = options;
  const created = await client.send(new CreateMultipartUploadCommand({ ...target, Metadata: metadata }), {
    abortSignal: signal,
  });
  const upload = { ...target, UploadId: created.UploadId ?? '' };
  const forget = await noteUpload(options.bucket, upload);
  try {
    const parts = await sendParts(options, upload);
    assertMayPublish();
    const { ETag } = await client.send(
      new CompleteMultipartUploadCommand({
        ...upload,
        MultipartUpload: { Parts: parts },
        IfNoneMatch: ifAbsent ? '*' : undefined,
      }),
      { abortSignal: signal },
    );
    return ETag;
  } catch (error) {
    // Parts that are left cost money and are not listed as objects. An upload that is gone already is no error.
    await client.send(new AbortMultipartUploadCommand(upload)).catch(() => undefined);
    throw error;
  } finally {
    await forget();
  }
}

async function sendParts(
  { client, source, signal, onBytes }: Upload,
  upload: { Bucket: string; Key: string; UploadId: string },
): Promise<CompletedPart[]> {
  const size = Math.max(PART, Math.ceil(source.bytes / MAX_PARTS / MEBIBYTE) * MEBIBYTE);
  const numbers = Array.from({ length: Math.ceil(source.bytes / size) }, (_, i) => i);
  const parts: CompletedPart[] = [];
  let sent = 0;
  await inParallel(numbers, AT_ONCE, async (i, stop) => {
    const body = await source.read(i * size, Math.min((i + 1) * size, source.bytes));
    const part = { PartNumber: i + 1, Body: body, ContentLength: body.length, ContentMD5: md5(body) };
    const abortSignal = signal ? AbortSignal.any([signal, stop]) : stop;
    const { ETag } = await client.send(new UploadPartCommand({ ...upload, ...part }), { abortSignal });
    parts[i] = { PartNumber: i + 1, ETag };
    sent += body.length;
    onBytes?.(sent);
  });
  return parts;
}

function md5(body: Buffer): string {
  return createHash('md5').update(body).digest('base64');
}
