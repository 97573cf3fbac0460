/**
 * @file Where artifacts live: a folder that every machine sees, or a bucket of an S3-compatible store. One contract, one
 * file per variant (file-store.ts, s3-store.ts), one conformance suite (test/suites/artifact-store.ts).
 *
 * Names are relative, with slashes, without `..`. A file appears whole or not at all. There is no renaming and no
 * locking: stages write to a local folder, and a stage's `stage.json`, written last, is what makes it count.
 */
import type { Readable } from 'node:stream';

/** A stored file. */
export interface StoredFile {
  name: string;
  bytes: number;
  /** SHA-256 of the content in hex, where the store was told or can tell without reading the file. */
  sha256?: string;
}

/** How to write. */
export interface PutOptions {
  /** Fail with UnfoldError `exists` instead of replacing a file: of several writers one succeeds. */
  ifAbsent?: boolean;
  signal?: AbortSignal;
}

/** A place for artifacts. All methods throw UnfoldErrors that name place and file. */
export interface ArtifactStore {
  /** The URL or path it was opened with, without secrets. */
  readonly url: string;
  /** The folder itself where stages can work in place; undefined where files have to be copied. */
  readonly localPath?: string;
  /** Files whose names begin with `prefix` (whole segments), in order of name. Symbolic links are not followed. */
  list(prefix?: string): AsyncIterable<StoredFile>;
  /** Undefined if there is none. */
  stat(name: string): Promise<StoredFile | undefined>;
  /** @throws UnfoldError `missing-file` */
  read(name: string, range?: { start: number; end?: number }): Promise<Readable>;
  /** Stores a local file or bytes; whole or not at all. @throws UnfoldError `disk-full`, `storage`, `exists` */
  put(
    name: string,
    from: { path: string } | { bytes: Uint8Array },
    options?: PutOptions,
  ): Promise<StoredFile>;
  /** Removes a file; nothing happens if there is none. */
  remove(name: string): Promise<void>;
  close(): void;
}
