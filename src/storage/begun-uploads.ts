/**
 * @file Uploads in parts that have begun, a small file for each in Unfold's state folder. The parts of an upload whose
 * process was killed stay in the bucket, paid for and in no listing of objects, and S3 does not tell whose they are: another
 * machine's upload of the same file may be at work. So each process notes its own, and the next one on this machine that
 * stores something in the same bucket gives up those of dead processes.
 */
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AbortMultipartUploadCommand, type S3Client } from '@aws-sdk/client-s3';
import { z } from 'zod';
import { readJson, sha256 } from '../files.ts';
import { makeFolder } from '../folders.ts';
import { isDeadPart, partOf } from '../parts.ts';
import { stateFolder } from '../state.ts';
import { isMissing } from './s3-errors.ts';

const schema = z.strictObject({ Bucket: z.string(), Key: z.string(), UploadId: z.string() });
/** What S3 knows an upload by. */
export type BegunUpload = z.output<typeof schema>;

const folder = () => join(stateFolder(), 'uploads');
/** Beginning of the names of notes; `bucket` is the URL of a bucket with its endpoint. */
const nameOf = (bucket: string) => sha256(bucket).slice(0, 16);

/** Notes an upload. @returns removes the note; where none can be made, the upload goes on without */
export async function noteUpload(bucket: string, upload: BegunUpload): Promise<() => Promise<void>> {
  const path = partOf(join(folder(), nameOf(bucket)));
  await makeFolder(folder())
    .then(() => writeFile(path, JSON.stringify(upload)))
    .catch(() => undefined);
  return () => rm(path, { force: true }).catch(() => undefined);
}

/** Gives up the uploads to this bucket that dead processes of this machine had begun. What fails is tried another time. */
export async function abortDeadUploads(client: S3Client, bucket: string): Promise<void> {
  for (const name of await readdir(folder()).catch(() => [])) {
    if (name.startsWith(`${nameOf(bucket)}.`) && isDeadPart(name)) await abort(client, join(folder(), name));
  }
}

async function abort(client: S3Client, note: string): Promise<void> {
  const upload = schema.safeParse(await readJson(note).catch(() => undefined));
  try {
    if (upload.success) await client.send(new AbortMultipartUploadCommand(upload.data));
  } catch (error) {
    if (!isGone(error)) return;
  }
  await rm(note, { force: true }).catch(() => undefined);
}

/** It was completed, or given up, before its process died; or its bucket is gone with it. */
function isGone(error: unknown): boolean {
  return (
    isMissing(error) || (error as Error)?.name === 'NoSuchUpload' || (error as Error)?.name === 'NoSuchBucket'
  );
}
