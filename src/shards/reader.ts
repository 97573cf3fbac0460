/**
 * @file Opens a folder of shards as a {@link BlockSource}: any block by one read of its byte range. Nothing is trusted:
 * sizes are compared when the folder is opened, each block's CRC-32 whenever it is read, the schema when a file is first
 * touched. What is wrong is named by shard and block; the remedy is to delete that one file and harvest again.
 */
import { type FileHandle, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { Damage } from '../arrow/flatbuffer.ts';
import type { Field } from '../arrow/schema.ts';
import { brief } from '../checked.ts';
import { type StageContext, silent } from '../context.ts';
import { internal, UnfoldError } from '../errors.ts';
import { exists } from '../files.ts';
import { fileInside } from '../inside.ts';
import { openToRead, sizeOfRegular } from '../read.ts';
import type { ActivationBlock, BlockSource, HookWidth } from './block-source.ts';
import { decodeBlock, decodeSchema, describeSchema } from './decode.ts';
import { openForeign } from './foreign.ts';
import { MANIFEST, type Manifest, readManifest } from './manifest.ts';
import { isSidecarName, sidecarName } from './schema.ts';
import { contradiction, readSidecar, type Sidecar, totalStats } from './sidecar.ts';
import type { HookStats } from './stats.ts';

/** Shards on disk. */
export interface ShardSource extends BlockSource {
  readonly manifest: Manifest;
  /** Per hook, over all rows, from the float32 values. */
  readonly statistics: ReadonlyMap<string, HookStats>;
}

/**
 * Opens a folder of activation shards (`context` sees a folder of another program being hashed): one that `unfold harvest` wrote, or a Hugging Face `datasets` folder of
 * activations (SAELens's cached activations, flat rows), read-only.
 * @throws UnfoldError `no-shards`, `unfinished-shards`, `missing-shard`, `truncated-shard`, `bad-shard`, `bad-manifest`
 */
export async function openShards(dir: string, context: StageContext = silent()): Promise<BlockSource> {
  const manifest = await readManifest(dir);
  if (manifest) return openOwn(dir, manifest);
  if (await exists(join(dir, 'state.json'))) return openForeign(dir, context);
  throw new UnfoldError('no-shards', {
    where: dir,
    expected: `a folder with ${MANIFEST} (unfold harvest) or state.json (Hugging Face datasets)`,
    found: (await exists(dir)) ? 'a folder with neither' : 'no such folder',
    todo: 'make shards with: unfold harvest --model MODEL --dataset DATASET --hooks HOOK --out DIR',
  });
}

/** True if the source knows statistics of all of its rows without reading them. */
export const isShardSource = (source: BlockSource): source is ShardSource => 'statistics' in source;

async function openOwn(dir: string, manifest: Manifest): Promise<ShardSource> {
  if (!manifest.complete) throw await unfinished(dir, manifest);
  const sidecars: Sidecar[] = [];
  let blocks = 0;
  for (const { file } of manifest.shards) {
    const sidecar = await openSidecar(dir, file, manifest);
    if (sidecar.first_block !== blocks) {
      const found = `one whose first is ${sidecar.first_block}`;
      throw badShard('bad-shard', dir, sidecarName(file), `a shard that begins with block ${blocks}`, found);
    }
    blocks += sidecar.blocks.length;
    sidecars.push(sidecar);
  }
  return new Shards(dir, manifest, sidecars);
}

async function openSidecar(dir: string, file: string, manifest: Manifest): Promise<Sidecar> {
  const todo = 'make these shards again with: unfold harvest';
  const path = await fileInside(dir, file, { where: join(dir, MANIFEST), kind: 'bad-manifest', todo });
  const sidecar = await readSidecar(join(dir, sidecarName(file)));
  const expected = `${sidecar.bytes} bytes`;
  if (!(await exists(path))) throw badShard('missing-shard', dir, file, expected, 'no such file');
  const size = await sizeOfRegular(path, { expected: 'a shard', todo: remedy(dir, file), kind: 'bad-shard' });
  if (size !== sidecar.bytes) {
    const kind = size < sidecar.bytes ? 'truncated-shard' : 'bad-shard';
    throw badShard(kind, dir, file, expected, `${size} bytes`);
  }
  const listed = manifest.shards.find((shard) => shard.file === file)!;
  if (
    sidecar.file !== file ||
    sidecar.content_hash !== manifest.content_hash ||
    sidecar.sha256 !== listed.sha256 ||
    sidecar.rows !== listed.rows
  ) {
    const found = 'a sidecar of another harvest';
    throw badShard('bad-shard', dir, file, `content ${manifest.content_hash.slice(0, 16)}…`, found);
  }
  const wrong = contradiction(sidecar, manifest.hooks);
  if (wrong) throw badShard('bad-shard', dir, sidecarName(file), 'a sidecar that fits its shard', wrong);
  return sidecar;
}

/** A shard's file and the columns of its schema. */
interface OpenShard {
  file: FileHandle;
  fields: readonly Field[];
}

/** See {@link openShards}. */
class Shards implements ShardSource {
  readonly manifest: Manifest;
  readonly hooks: readonly HookWidth[];
  readonly blockRows: readonly number[];
  readonly contentHash: string;
  readonly statistics: ReadonlyMap<string, HookStats>;
  readonly #dir: string;
  readonly #sidecars: readonly Sidecar[];
  readonly #open = new Map<number, Promise<OpenShard>>();

  constructor(dir: string, manifest: Manifest, sidecars: readonly Sidecar[]) {
    this.#dir = dir;
    this.#sidecars = sidecars;
    this.manifest = manifest;
    this.hooks = manifest.hooks;
    this.contentHash = manifest.content_hash;
    this.blockRows = sidecars.flatMap((sidecar) => sidecar.blocks.map((block) => block.rows));
    this.statistics = totalStats(sidecars);
  }

  async readBlock(index: number, names?: readonly string[]): Promise<ActivationBlock> {
    const shard = this.#sidecars.findIndex(
      (s) => index >= s.first_block && index < s.first_block + s.blocks.length,
    );
    const sidecar = this.#sidecars[shard] ?? internal(`no block ${index}`);
    const at = index - sidecar.first_block;
    const entry = sidecar.blocks[at]!;
    const { file, fields } = await this.#handle(shard);
    const where = `${sidecar.file} block ${at}`;
    const bytes = Buffer.allocUnsafeSlow(entry.length);
    await readRange(file, bytes, entry.offset, () =>
      this.#damaged(where, 'truncated-shard', `${entry.length} bytes`),
    );
    if (crc32(bytes) !== entry.crc32)
      throw this.#damaged(where, 'bad-shard', `CRC-32 ${entry.crc32}`, `${crc32(bytes)}`);
    const wanted = names ? this.hooks.filter(({ name }) => names.includes(name)) : this.hooks;
    const block = await decodeBlock(fields, bytes, wanted).catch((error: unknown) => {
      throw this.#undecodable(error, where);
    });
    if (block.rows !== entry.rows)
      throw this.#damaged(where, 'bad-shard', `${entry.rows} rows`, `${block.rows}`);
    return block;
  }

  async close(): Promise<void> {
    const handles = [...this.#open.values()];
    this.#open.clear();
    for (const handle of handles) await (await handle).file.close();
  }

  /** Opens each file once and checks its schema against the manifest. */
  #handle(shard: number): Promise<OpenShard> {
    const known = this.#open.get(shard);
    if (known) return known;
    const opened = this.#openFile(this.#sidecars[shard]!);
    this.#open.set(shard, opened);
    opened.catch(() => this.#open.delete(shard));
    return opened;
  }

  async #openFile(sidecar: Sidecar): Promise<OpenShard> {
    const path = join(this.#dir, sidecar.file);
    const todo = remedy(this.#dir, sidecar.file);
    const file = await openToRead(path, { expected: 'a shard', todo, kind: 'bad-shard' });
    try {
      return { file, fields: await this.#readHeader(file, sidecar) };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async #readHeader(file: FileHandle, { file: name, header: entry }: Sidecar): Promise<readonly Field[]> {
    const header = Buffer.allocUnsafeSlow(entry.length);
    await readRange(file, header, 0, () =>
      this.#damaged(name, 'truncated-shard', `a header of ${entry.length} bytes`),
    );
    if (crc32(header) !== entry.crc32) {
      throw this.#damaged(`${name} header`, 'bad-shard', `CRC-32 ${entry.crc32}`, `${crc32(header)}`);
    }
    const fields = this.#decodeSchema(header, name);
    const found = describeSchema(fields);
    const expected = { hooks: this.manifest.hooks, dtype: this.manifest.dtype };
    if (JSON.stringify(found) !== JSON.stringify(expected)) {
      throw this.#damaged(`${name} schema`, 'bad-shard', JSON.stringify(expected), brief(found));
    }
    return fields;
  }

  #decodeSchema(header: Buffer, name: string): readonly Field[] {
    try {
      return decodeSchema(header);
    } catch (error) {
      throw this.#undecodable(error, `${name} header`);
    }
  }

  #undecodable(error: unknown, where: string): unknown {
    if (!(error instanceof Damage)) return error;
    return this.#damaged(where, 'bad-shard', 'an Arrow message', error.message);
  }

  #damaged(where: string, kind: string, expected: string, found = 'fewer'): UnfoldError {
    return badShard(kind, this.#dir, where, expected, found);
  }
}

/** pread until the buffer is full. */
async function readRange(
  file: FileHandle,
  into: Buffer,
  at: number,
  short: () => UnfoldError,
): Promise<void> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await file.read(into, done, into.length - done, at + done);
    if (!bytesRead) throw short();
    done += bytesRead;
  }
}

function badShard(kind: string, dir: string, what: string, expected: string, found: string): UnfoldError {
  const file = what.split(' ')[0]!;
  return new UnfoldError(kind, {
    where: join(dir, what),
    expected,
    found,
    todo: remedy(dir, file),
  });
}

const remedy = (dir: string, file: string) =>
  `delete ${join(dir, file)} and run the same \`unfold harvest\` again: only this shard is made again`;

async function unfinished(dir: string, { shard_count }: Manifest): Promise<UnfoldError> {
  const names = await readdir(dir);
  const there = names.filter((name) => isSidecarName(name, shard_count));
  return new UnfoldError('unfinished-shards', {
    where: dir,
    expected: `${shard_count} finished shards`,
    found: `${there.length}: the harvest was stopped or is still running`,
    todo: 'run the same `unfold harvest` again: it goes on where it stopped',
  });
}
