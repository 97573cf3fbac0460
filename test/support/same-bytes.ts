/**
 * @file Compares two folders of artifacts byte for byte: what a queue, a crash or another machine had a hand in must be what
 * an undisturbed run writes. What may differ is listed here by name, each with its reason; nothing else may.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** Fields that say how long something took or when, wherever they stand in JSON; the rest of the file has to agree. */
const TIMES = new Set([
  // stage.json: when it was finished, how long it took
  'finished_at',
  'seconds',
  // metrics.jsonl, manifest.json of a run, sweep.json, stage.json: how fast the steps or tokens went by
  'tokens_per_second',
  'steps_per_second',
  // metrics.jsonl: time since the run began
  'elapsed_seconds',
  // the checksum of a file over itself, times included
  'seal',
]);

/** Lists of files with their hashes: of files that hold times or the folder's own path, too, all of which are compared themselves. */
const LISTS = new Set(['files']);

/** Names of files and folders that are not results. */
const IGNORED: readonly RegExp[] = [
  // locks of processes at work
  /^\.lock/,
  // time spent so far in stages that are not finished
  /^\.seconds/,
  // what was queued and is not finished yet
  /\.queue\.json$/,
  // files being written when a process was killed; the next writer replaces or removes them
  /\.part(-.*)?$/,
  // checkpoints of finished runs: how many were made depends on when a run was stopped
  /^checkpoints$/,
];

/** Content of every file below `dir` by relative path: a hash of the bytes without {@link TIMES}, or where a link leads. */
export async function contentsOf(dir: string): Promise<Map<string, string>> {
  const contents = new Map<string, string>();
  await collect(dir, dir, contents);
  return contents;
}

/**
 * What differs between two folders, in words, one entry a file; nothing if they are the same.
 * @param replace text that stands for itself in both, such as the folders' own paths in reports
 */
export async function differences(
  one: string,
  other: string,
  ignore: (path: string) => boolean = () => false,
): Promise<string[]> {
  const [a, b] = [await contentsOf(one), await contentsOf(other)];
  const paths = [...new Set([...a.keys(), ...b.keys()])].sort().filter((path) => !ignore(path));
  return paths.flatMap((path) => {
    if (!a.has(path)) return [`${path}: only in ${other}`];
    if (!b.has(path)) return [`${path}: only in ${one}`];
    return a.get(path) === b.get(path) ? [] : [`${path}: differs`];
  });
}

async function collect(root: string, dir: string, into: Map<string, string>): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    if (IGNORED.some((pattern) => pattern.test(entry.name))) continue;
    const path = join(dir, entry.name);
    const name = relative(root, path);
    if (entry.isDirectory()) await collect(root, path, into);
    else if (entry.isSymbolicLink()) into.set(name, `-> ${await readlink(path)}`);
    else into.set(name, hashOfContent(root, entry.name, await readFile(path)));
  }
}

function hashOfContent(root: string, name: string, bytes: Buffer): string {
  const hash = createHash('sha256');
  if (name.endsWith('.json')) return hash.update(withoutTimes(bytes.toString(), root)).digest('hex');
  if (name.endsWith('.jsonl')) {
    const lines = bytes.toString().trimEnd().split('\n');
    return hash.update(lines.map((line) => withoutTimes(line, root)).join('\n')).digest('hex');
  }
  // Reports name the folder they lie in.
  if (name.endsWith('.md')) return hash.update(bytes.toString().replaceAll(shown(root), 'OUT')).digest('hex');
  return hash.update(bytes).digest('hex');
}

function withoutTimes(text: string, root: string): string {
  const kept = JSON.stringify(JSON.parse(text), (key, value) => {
    if (TIMES.has(key)) return undefined;
    return LISTS.has(key) && Array.isArray(value) ? value.map(({ file }) => file) : value;
  });
  return kept.replaceAll(shown(root), 'OUT').replaceAll(root, 'OUT');
}

/** A path as reports write it: from the current directory where that is shorter. */
function shown(root: string): string {
  const local = relative(process.cwd(), root);
  return local.startsWith('../..') ? root : local;
}
