/**
 * @file `unfold verify`: every byte below a folder held against what was written of it. Manifests, sidecars, checkpoints and
 * headers of tokens list files with SHA-256 and have a seal of their own; of a file that nobody lists, JSON must parse and
 * safetensors be whole. Nothing is changed.
 */
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { damageOfFile, type FileRecord, inWords } from '../inventory.ts';
import { openSafetensors } from '../model/safetensors.ts';
import { parseJson } from '../read.ts';
import { sealOf } from '../seal.ts';
import { againByName, type Vouching, vouchedBy } from './vouched.ts';

/** One damaged file. */
export interface Damaged {
  path: string;
  /** What is wrong: "512 bytes instead of 1024 bytes". */
  found: string;
  /** What it belongs to, as far as that is known. */
  of: string;
  todo: string;
}

/** What was found. */
export interface Verified {
  paths: string[];
  /** Files of which a hash was written, themselves included, and their bytes. */
  files: number;
  bytes: number;
  damaged: Damaged[];
  /** Files of which no hash was written: whole, as far as their form tells. */
  unlisted: string[];
  /** Unfinished files and locks, of processes at work or of killed ones. */
  passing: string[];
  ok: boolean;
}

/** A file somebody vouches for. */
interface Claim {
  record: FileRecord;
  vouching: Vouching;
}

/**
 * Checks every byte below the folders; links are followed, a folder is read once.
 * @throws UnfoldError `missing-file`; the signal's reason
 */
export async function verify(folders: readonly string[], context: StageContext): Promise<Verified> {
  const seen = new Set<string>();
  const all: string[] = [];
  for (const folder of folders) {
    await requireFolder(folder);
    await collect(folder, all, seen);
  }
  const passing = all.filter((path) => PASSING.test(path));
  const files = all.filter((path) => !PASSING.test(path)).sort(byDepth);
  const look = new Look();
  for (const path of files) if (extname(path) === '.json') await look.read(path);
  const known = new Set(files);
  for (const path of files) look.checkpointOf(path, known);
  await look.check(context);
  for (const path of files) if (!look.isKnown(path)) await look.form(path);
  return {
    paths: [...folders],
    files: look.files,
    bytes: look.bytes,
    damaged: [...look.damaged.values()].sort((a, b) => (a.path < b.path ? -1 : 1)),
    unlisted: files.filter((path) => !look.isKnown(path) && !look.damaged.has(path)),
    passing,
    ok: look.damaged.size === 0,
  };
}

const PASSING = /(^|\/)(\.lock|\.seconds)[^/]*$|\.part(\/|$)/;
/** JSON above this is no file of ours, bytes. */
const MOST_JSON = 2 ** 28;

/** Those who list files come before those who are listed by them and list some themselves. */
function byDepth(a: string, b: string): number {
  return a.split('/').length - b.split('/').length || (a < b ? -1 : 1);
}

async function requireFolder(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) return;
  throw new UnfoldError('missing-file', {
    where: path,
    expected: 'a folder: of a run, a stage, shards, a coder, or of many of them',
    found: found ? 'a file' : 'nothing at this path',
    todo: found ? `give its folder: unfold verify ${dirname(path)}` : 'check the path',
  });
}

async function collect(dir: string, into: string[], seen: Set<string>): Promise<void> {
  const real = await realpath(dir);
  if (seen.has(real)) return;
  seen.add(real);
  for (const name of (await readdir(dir)).sort()) {
    const path = join(dir, name);
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory()) await collect(path, into, seen);
    else if (found?.isFile()) into.push(path);
  }
}

/** What is known of the files so far. */
class Look {
  readonly damaged = new Map<string, Damaged>();
  readonly #claims = new Map<string, Claim>();
  /** Sealed files, which need nobody else to vouch for them. */
  readonly #sealed = new Set<string>();
  files = 0;
  bytes = 0;

  isKnown(path: string): boolean {
    return this.#claims.has(path) || this.#sealed.has(path);
  }

  /** Takes in what a JSON file says of others. */
  async read(path: string): Promise<void> {
    if ((await stat(path)).size > MOST_JSON) return;
    let json: unknown;
    try {
      json = parseJson(await readFile(path, 'utf8'), path);
    } catch (error) {
      if (!(error instanceof UnfoldError)) throw error;
      return this.#damage(path, error.lesson.found);
    }
    const vouching = vouchedBy(path, json);
    const seal = sealOf(json);
    if (seal === 'broken' && (vouching || isOurs(json)))
      return this.#damage(path, 'another content than its checksum (seal) was made of', vouching);
    if (seal === 'sound') this.#sealed.add(path);
    for (const record of vouching?.records ?? []) {
      const at = join(dirname(path), record.file);
      if (!this.#claims.has(at)) this.#claims.set(at, { record, vouching: vouching! });
    }
  }

  /** A folder of a checkpoint that has lost its state. */
  checkpointOf(path: string, files: ReadonlySet<string>): void {
    const state = join(dirname(path), 'state.json');
    if (/(^|\/)checkpoints\/step-\d+$/.test(dirname(path)) && !files.has(state))
      this.#damage(state, 'no such file');
  }

  /** Reads every byte that somebody vouches for. */
  async check({ bar: start, signal }: StageContext): Promise<void> {
    const claims = [...this.#claims];
    this.files = new Set([...this.#claims.keys(), ...this.#sealed]).size;
    this.bytes = claims.reduce((sum, [, { record }]) => sum + record.bytes, 0);
    const bar = start('verify', this.bytes, 'bytes');
    let done = 0;
    for (const [path, { record, vouching }] of claims) {
      signal.throwIfAborted();
      const damage = await damageOfFile(path, record);
      if (damage) this.#damage(path, inWords(damage), vouching);
      done += record.bytes;
      bar.update(done);
    }
    bar.finish();
  }

  /** What can be said of a file that nobody vouches for. */
  async form(path: string): Promise<void> {
    if (extname(path) !== '.safetensors') return;
    try {
      await (await openSafetensors(path)).close();
    } catch (error) {
      if (!(error instanceof UnfoldError)) throw error;
      this.#damage(path, error.lesson.found);
    }
  }

  #damage(path: string, found: string, vouching?: Vouching): void {
    if (this.damaged.has(path)) return;
    const todo = (vouching?.again ?? againByName(path)).replace('FILE', path);
    this.damaged.set(path, { path, found, of: vouching?.what ?? 'nothing that is known', todo });
  }
}

/** A `seal` in a file of somebody else means nothing. */
function isOurs(json: unknown): boolean {
  const { kind, format } = json as { kind?: unknown; format?: unknown };
  return /^unfold/.test(String(kind ?? format ?? ''));
}
