/**
 * @file Which shards are finished, and the last step of a harvest: when every shard is there, the manifest lists them
 * and the folder gets the two files that make it a Hugging Face `datasets` directory.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { StageContext } from '../context.ts';
import { exists, sha256File, writeJson } from '../files.ts';
import { recordFiles } from '../inventory.ts';
import { type Manifest, writeManifest } from '../shards/manifest.ts';
import { datasetInfo, datasetState, sidecarName } from '../shards/schema.ts';
import { readSidecar, type Sidecar, totalStats } from '../shards/sidecar.ts';
import { meanNorm } from '../shards/stats.ts';
import type { HarvestPlan, PlannedShard } from './plan.ts';

/** Shards whose sidecar is of this harvest and whose bytes have the sidecar's hash. The rest are made again. */
export async function finishedShards(
  out: string,
  shards: readonly PlannedShard[],
  contentHash: string,
  context: StageContext,
): Promise<Set<number>> {
  const found: { shard: PlannedShard; sidecar: Sidecar }[] = [];
  for (const shard of shards) {
    const sidecar = await sidecarOf(out, shard, contentHash);
    if (sidecar) found.push({ shard, sidecar });
  }
  const finished = new Set<number>();
  if (!found.length) return finished;
  const bar = context.bar('check', found.length, 'shards');
  for (const { shard, sidecar } of found) {
    context.signal.throwIfAborted();
    const path = join(out, shard.file);
    if ((await sha256File(path)) === sidecar.sha256) finished.add(shard.index);
    else context.warn(`${path}: its bytes do not match its sidecar; the shard is made again`);
    bar.update(finished.size);
  }
  bar.finish();
  return finished;
}

/** Shards without a sidecar of this harvest, or whose file has not its size: quick, for the bytes are not read. */
export async function unfinishedShards(
  out: string,
  shards: readonly PlannedShard[],
  contentHash: string,
): Promise<PlannedShard[]> {
  const missing: PlannedShard[] = [];
  for (const shard of shards) if (!(await sidecarOf(out, shard, contentHash))) missing.push(shard);
  return missing;
}

/** What the folder holds after {@link finishHarvest}. */
export interface Finished {
  complete: boolean;
  /** Bytes of the shards that are there. */
  bytes: number;
  mean_norm: Manifest['mean_norm'];
}

/** If every shard is finished, writes the manifest, `dataset_info.json` and `state.json`; equal harvests, equal bytes. */
export async function finishHarvest(out: string, manifest: Manifest, plan: HarvestPlan): Promise<Finished> {
  const sidecars: Sidecar[] = [];
  for (const shard of plan.shards) {
    const sidecar = await sidecarOf(out, shard, manifest.content_hash);
    if (sidecar) sidecars.push(sidecar);
  }
  const norms = [...totalStats(sidecars)].map(([name, stats]) => [name, stats.rows ? meanNorm(stats) : null]);
  const mean_norm = Object.fromEntries(norms) as Manifest['mean_norm'];
  const bytes = sidecars.reduce((sum, sidecar) => sum + sidecar.bytes, 0);
  const complete = sidecars.length === plan.shards.length;
  if (complete) await writeFolder(out, { ...manifest, complete, mean_norm, shards: sidecars.map(listed) });
  return { complete, bytes, mean_norm };
}

async function writeFolder(out: string, manifest: Manifest): Promise<void> {
  const { hooks, dtype, content_hash, shards } = manifest;
  const description = `Activations harvested by Unfold; manifest.json says from what.`;
  await writeJson(join(out, 'dataset_info.json'), datasetInfo(hooks, dtype, description));
  const state = datasetState(
    shards.map(({ file }) => file),
    content_hash,
  );
  await writeJson(join(out, 'state.json'), state);
  const beside = ['dataset_info.json', 'state.json', ...shards.map(({ file }) => sidecarName(file))];
  await writeManifest(out, { ...manifest, files: await recordFiles(out, beside) });
}

const listed = ({ file, first_block, blocks, rows, bytes, sha256 }: Sidecar): Manifest['shards'][number] => ({
  file,
  first_block,
  blocks: blocks.length,
  rows,
  bytes,
  sha256,
});

/** The sidecar of a shard if it is of this harvest and the file has its size. */
async function sidecarOf(
  out: string,
  shard: PlannedShard,
  contentHash: string,
): Promise<Sidecar | undefined> {
  const path = join(out, sidecarName(shard.file));
  if (!(await exists(path))) return undefined;
  const sidecar = await readSidecar(path).catch(() => undefined);
  if (!sidecar || sidecar.content_hash !== contentHash || sidecar.rows !== shard.rows) return undefined;
  const size = await stat(join(out, shard.file)).then(
    (stats) => stats.size,
    () => -1,
  );
  return size === sidecar.bytes ? sidecar : undefined;
}
