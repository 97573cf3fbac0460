/**
 * @file Artifacts in a bucket of Amazon S3 or a server that speaks the same protocol (MinIO, Ceph, R2, Garage …). An
 * object's SHA-256 is kept in its metadata and compared when it is read.
 *
 * `ifAbsent` is `If-None-Match: *`. A server without conditional writes ignores it; then only a look beforehand stands
 * between two writers, and of two within the same moment both may succeed, the later one's file remaining.
 */
import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type S3Client,
} from '@aws-sdk/client-s3';
import { assertMayPublish } from '../write-guard.ts';
import { abortDeadUploads } from './begun-uploads.ts';
import { existsAlready, explainFile, missingFile } from './lessons.ts';
import { openSource } from './local-file.ts';
import { checkName } from './names.ts';
import { s3Client } from './s3-client.ts';
import { download } from './s3-download.ts';
import { codeOf, explainS3, isMissing, isRefusedAsPresent, statusOf } from './s3-errors.ts';
import { BYTES, SHA256, WRITER } from './s3-metadata.ts';
import { upload } from './s3-upload.ts';
import type { ArtifactStore, PutOptions, PutSource, StoredFile } from './store.ts';
import { formatS3, type S3Location } from './url.ts';

/** A bucket, or what is below a prefix of it, as a store. */
export class S3Store implements ArtifactStore {
  readonly url: string;
  readonly #location: S3Location;
  readonly #client: S3Client;
  readonly #root: string;
  /** URL of the bucket. */
  readonly #bucket: string;
  #tidied: Promise<void> | undefined;

  constructor(location: S3Location) {
    this.url = formatS3(location);
    this.#location = location;
    this.#client = s3Client(location);
    this.#bucket = urlOfBucket(location);
    this.#root = location.prefix === '' ? '' : `${location.prefix}/`;
  }

  async *list(prefix = ''): AsyncIterable<StoredFile> {
    const below = prefix.replace(/\/+$/, '');
    if (below === '') return yield* this.#list('');
    const itself = await this.stat(below);
    if (itself) yield itself;
    yield* this.#list(`${below}/`);
  }

  async stat(name: string): Promise<StoredFile | undefined> {
    try {
      const head = await this.#client.send(new HeadObjectCommand(this.#target(name)));
      return {
        name,
        bytes: head.ContentLength ?? 0,
        sha256: head.Metadata?.[SHA256],
        version: head.ETag,
      };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw this.#explain(error, name);
    }
  }

  async read(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    const target = this.#target(name);
    const explain = (error: unknown) => this.#explain(error, name);
    if (range?.end !== undefined && range.end <= range.start) {
      if (await this.stat(name)) return Readable.from([]);
      throw missingFile(this.url, name);
    }
    try {
      const { url } = this;
      return Readable.from(await download({ client: this.#client, target, url, name, range, explain }), {
        objectMode: false,
      });
    } catch (error) {
      // A range that begins at or behind the end has no bytes.
      if (codeOf(error) === 'InvalidRange' || statusOf(error) === 416) return Readable.from([]);
      throw explain(error);
    }
  }

  async put(name: string, from: PutSource, options: PutOptions = {}): Promise<StoredFile> {
    const { ifAbsent = false, signal, onBytes } = options;
    const target = this.#target(name);
    if (ifAbsent && (await this.stat(name))) throw existsAlready(this.url, name);
    const source = await openSource(from, signal).catch((error: unknown) => {
      throw explainFile(error, 'path' in from ? from.path : name);
    });
    this.#tidied ??= abortDeadUploads(this.#client, this.#bucket);
    await this.#tidied;
    const writer = randomUUID();
    const metadata = { [SHA256]: source.sha256, [BYTES]: String(source.bytes), [WRITER]: writer };
    const file = { name, bytes: source.bytes, sha256: source.sha256 };
    try {
      const client = this.#client;
      const bucket = this.#bucket;
      const version = await upload({ client, target, bucket, source, metadata, ifAbsent, signal, onBytes });
      return { ...file, version };
    } catch (error) {
      signal?.throwIfAborted();
      if (!ifAbsent || !isRefusedAsPresent(error)) throw this.#explain(error, name);
      // An answer that was lost on its way made the SDK send the request again: then the file there is our own.
      const version = await this.#versionOf(name, writer);
      if (version === undefined) throw existsAlready(this.url, name);
      return { ...file, version };
    } finally {
      await source.close();
    }
  }

  async remove(name: string): Promise<void> {
    assertMayPublish();
    try {
      await this.#client.send(new DeleteObjectCommand(this.#target(name)));
    } catch (error) {
      if (!isMissing(error)) throw this.#explain(error, name);
    }
  }

  close(): void {
    this.#client.destroy();
  }

  async *#list(prefix: string): AsyncIterable<StoredFile> {
    const { bucket } = this.#location;
    let token: string | undefined;
    do {
      const page = await this.#client
        .send(
          new ListObjectsV2Command({
            Bucket: bucket,
            Prefix: this.#root + prefix,
            ContinuationToken: token,
          }),
        )
        .catch((error: unknown) => {
          throw this.#explain(
            isMissing(error) ? { ...asObject(error), name: 'NoSuchBucket' } : error,
            prefix,
          );
        });
      for (const { Key = '', Size = 0, ETag } of page.Contents ?? []) {
        // Consoles make folders as empty objects whose names end with a slash.
        if (!Key.endsWith('/')) yield { name: Key.slice(this.#root.length), bytes: Size, version: ETag };
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async #versionOf(name: string, writer: string): Promise<string | undefined> {
    const head = await this.#client.send(new HeadObjectCommand(this.#target(name))).catch(() => undefined);
    return head?.Metadata?.[WRITER] === writer ? head.ETag : undefined;
  }

  #target(name: string): { Bucket: string; Key: string } {
    checkName(name, this.url);
    return { Bucket: this.#location.bucket, Key: this.#root + name };
  }

  #explain(error: unknown, name: string): unknown {
    return explainS3(error, { location: this.#location, url: this.url, name });
  }
}

/** With the endpoint, also if it is the environment's. */
function urlOfBucket({ bucket, endpoint }: S3Location): string {
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = process.env;
  return formatS3({ bucket, prefix: '', endpoint: endpoint ?? AWS_ENDPOINT_URL_S3 ?? AWS_ENDPOINT_URL });
}

function asObject(error: unknown): object {
  return typeof error === 'object' && error !== null ? error : {};
}
