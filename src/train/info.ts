/**
 * @file What a path holds, in a few lines: a coder or a set of coders in any layout, a training run (finished or not), a
 * sweep of runs, or activation shards. Reads manifests and headers, no tensors.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Choice, chosenEntries } from '../coders/formats/choose.ts';
import { describeSource } from '../coders/formats/describe.ts';
import type { OpenOptions } from '../coders/formats/format.ts';
import { Place } from '../coders/formats/place.ts';
import { openCoders } from '../coders/formats/registry.ts';
import { CFG_FILE } from '../coders/formats/saelens.ts';
import type { CoderHooks } from '../coders/training.ts';
import { UnfoldError } from '../errors.ts';
import { exists, readJson } from '../files.ts';
import { isShardSource, openShards } from '../shards/reader.ts';
import { checkpointSteps } from './checkpoint.ts';
import { SWEEP_FILE, type SweepEntry, type SweepManifest } from './sweep.ts';

/** Facts by name; `kind` says which of them it is. */
export type Info = { kind: 'coder' | 'coders' | 'run' | 'sweep' | 'shards'; path: string } & Record<
  string,
  unknown
>;

/**
 * Describes `path`.
 * @throws UnfoldError `missing-file` when it is none of these, and what the readers throw
 */
export async function infoOf(path: string, options: OpenOptions & Choice = {}): Promise<Info> {
  const place = await Place.at(path);
  const refuseChoice = (what: string) => refuseOptions(path, what, options);
  const config = place.names.has(CFG_FILE) ? undefined : await place.json('config.json');
  if (config && 'settings' in config) {
    refuseChoice('a training run');
    return runInfo(path);
  }
  if (place.names.has(SWEEP_FILE)) {
    refuseChoice('a sweep');
    return sweepInfo(path);
  }
  const isShards = place.names.has('manifest.json') || place.names.has('state.json');
  if (isShards && !place.names.has(CFG_FILE)) {
    refuseChoice('a folder of shards');
    return shardsInfo(path);
  }
  if (place.kind === 'nothing') {
    throw new UnfoldError('missing-file', {
      where: path,
      expected:
        'a coder or a set of coders, a training run (config.json), a sweep (sweep.json) or shards (manifest.json or state.json)',
      found: 'nothing at this path',
      todo: 'give one of these',
    });
  }
  const source = await openCoders(path, options);
  const entries = chosenEntries(source, options);
  const isOne = source.kind === 'coder' || (entries.length === 1 && source.entries.length > 1);
  return (await describeSource({ ...source, kind: isOne ? 'coder' : 'set', entries })) as Info;
}

/** Options that choose among coders say nothing about anything else. */
function refuseOptions(where: string, what: string, options: OpenOptions & Choice): void {
  const [given] = Object.entries(options).find(([, value]) => value !== undefined) ?? [];
  if (given === undefined) return;
  throw new UnfoldError('bad-setting', {
    where,
    expected: `no --${given}, which chooses among coders`,
    found: what,
    todo: `leave --${given} out, or name a coder: the folder final of a run`,
  });
}

async function runInfo(path: string): Promise<Info> {
  const config = (await readJson(join(path, 'config.json'))) as {
    settings?: Record<string, unknown>;
    hooks?: CoderHooks;
  };
  const { settings = {}, hooks } = config;
  const list = (side: CoderHooks['in'] = []) => side.map(({ name, width }) => `${name} [${width}]`);
  const text = await readFile(join(path, 'metrics.jsonl'), 'utf8').catch(() => '');
  const last = text.trimEnd().split('\n').at(-1);
  const { coder, ...shared } = settings;
  const manifest = join(path, 'manifest.json');
  const finished = await exists(manifest);
  const { calibration } = (finished ? await readJson(manifest) : {}) as { calibration?: unknown };
  return {
    kind: 'run',
    path,
    finished,
    hook: list(hooks?.in).join(', '),
    ...(hooks?.out.length && { target: list(hooks.out).join(', ') }),
    steps: shared.total_steps,
    checkpoints: (await checkpointSteps(path)).reverse(),
    ...(last ? { last: JSON.parse(last) as unknown } : {}),
    ...(calibration !== undefined && { calibration }),
    settings: { ...shared, ...(coder as object) },
  };
}

/** A line a coder; the folders of each are runs of their own. */
async function sweepInfo(path: string): Promise<Info> {
  const { coders, rows } = (await readJson(join(path, SWEEP_FILE))) as SweepManifest;
  const entries = Object.entries(coders);
  const finished = entries.filter(([, { status }]) => status === 'finished').length;
  const runs: Record<string, string> = {};
  for (const [name, entry] of entries) runs[name] = await entryLine(join(path, entry.dir), entry);
  return { kind: 'sweep', path, coders_trained: `${finished} of ${entries.length}`, rows, runs };
}

/** What is known of a coder: its end, or the checkpoint it goes on from. */
async function entryLine(dir: string, { status, architecture, hooks, metrics }: SweepEntry): Promise<string> {
  const about = `${architecture} on ${hooks.length > 2 ? `${hooks.length} hooks` : hooks.join(' and ')}`;
  if (metrics) {
    const { explained_variance, l0, exported_l0 = l0 } = metrics;
    return `${status}: ${about}, EV ${explained_variance.toFixed(4)}, L0 ${exported_l0.toFixed(2)}`;
  }
  const [newest] = await checkpointSteps(dir);
  return `${status}: ${about}, ${newest === undefined ? 'no checkpoint yet' : `checkpoint at step ${newest}`}`;
}

async function shardsInfo(path: string): Promise<Info> {
  const source = await openShards(path);
  await source.close();
  const rows = source.blockRows.reduce((sum, count) => sum + count, 0);
  const shared: Info = {
    kind: 'shards',
    path,
    hooks: source.hooks.map(({ name, width }) => `${name} [${width}]`),
    rows,
    blocks: source.blockRows.length,
    content_hash: source.contentHash,
  };
  if (!isShardSource(source)) return { ...shared, format: 'Hugging Face datasets folder' };
  const { dtype, shard_count, mean_norm, settings } = source.manifest;
  return { ...shared, dtype, shards: shard_count, mean_norm, settings };
}
