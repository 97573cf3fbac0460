/**
 * @file Where artifacts live: a folder that every machine sees, or a bucket of an S3-compatible store. One contract, one
 * file per variant (file-store.ts, s3-store.ts), one conformance suite (test/suites/artifact-store.ts).
 *
 * Names are relative, with slashes, without `..` (names.ts). A file appears whole or not at all. There is no renaming and
 * no locking: stages write to a local folder, and a stage's `stage.json`, written last, is what makes it count.
 */
import type { Readable } from 'node:stream';

/** A stored file. */
export interface StoredFile {
  name: string;
  bytes: number;
  /** SHA-256 of the content in hex, where the store was told or can tell without reading the file. */
  sha256?: string;
  /** The store's own mark of this content (an ETag): another content, another mark. */
  version?: string;
}

/** How to write. */
export interface PutOptions {
  /** Fail with UnfoldError `exists` instead of replacing a file: of several writers one succeeds. */
  ifAbsent?: boolean;
  signal?: AbortSignal;
  /** Bytes sent so far, for a bar. */
  onBytes?(bytes: number): void;
}

/** What to store: a local file as it is at the moment (of a file that grows, its first `bytes`), or bytes. */
export type PutSource = { path: string; bytes?: number } | { bytes: Uint8Array };

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
  /**
   * The file's bytes, or those from `start` to before `end`. A whole file that is not what was stored ends in an error.
   * @throws UnfoldError `missing-file`; the stream: `damaged`, `storage`
   */
  read(name: string, range?: { start: number; end?: number }): Promise<Readable>;
  /** Stores a local file or bytes; whole or not at all. @throws UnfoldError `disk-full`, `storage`, `exists` */
  put(name: string, from: PutSource, options?: PutOptions): Promise<StoredFile>;
  /** Removes a file; nothing happens if there is none. */
  remove(name: string): Promise<void>;
  close(): void;
}
