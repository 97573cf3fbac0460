/**
 * @file The harvest: text through a model, activations at hook points into shards. The order of events:
 *   1. read settings, model, tokeniser, corpus; decide which rows there will be (rows.ts, forward.ts)
 *   2. plan the shards, look for the harvest already begun in the folder, check the disk (plan.ts)
 *   3. for every shard that is not finished: forward pass, rows, Arrow, disk, one block after another (shard.ts)
 *   4. when all are finished: the manifest and the two files of a Hugging Face `datasets` folder (finish.ts)
 * A shard counts as finished when its sidecar and its bytes agree. Killed at any moment, the same harvest run again
 * makes the missing shards and ends with the bytes that an undisturbed run would have written.
 */
import { join } from 'node:path';
import { checked } from '../checked.ts';
import { alsoStoppedBy, type StageContext } from '../context.ts';
import { lockShards } from '../lock.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { packageVersion } from '../package-version.ts';
import { checkSameHarvest, type Manifest, readManifest, writeManifest } from '../shards/manifest.ts';
import type { ShardDtype } from '../shards/schema.ts';
import type { Corpus } from '../text/contexts.ts';
import { type Deviation, measureDeviation } from './deviation.ts';
import { finishedShards, finishHarvest, unfinishedShards } from './finish.ts';
import { BlockForward, type HookedModel } from './forward.ts';
import { type HarvestInputs, openInputs } from './inputs.ts';
import {
  checkDisk,
  gigabytes,
  type HarvestPlan,
  type PlannedShard,
  parseShardRange,
  planHarvest,
} from './plan.ts';
import {
  type HarvestSettings,
  harvestSchema,
  precisionOf,
  type ResolvedHarvestSettings,
} from './settings.ts';
import { blockBuffers, harvestShard } from './shard.ts';

/** Where a harvest goes and which part of it is made now; the settings themselves decide the rows. */
export interface HarvestOptions extends HarvestSettings {
  /** Folder of the shards. */
  out: string;
  /** Only these shards, `3..7` (both ends included, from 0), so that several processes can share the work. */
  shards?: string;
  /** Start although the disk seems too small. */
  force?: boolean;
}

/** Opened by the caller, so that a pipeline loads each once. */
export interface GivenInputs {
  model?: HookedModel;
  tokenizer?: Tokenizer;
  corpus?: Corpus;
}

/** What a harvest did. */
export interface HarvestResult {
  out: string;
  content_hash: string;
  hooks: { name: string; width: number; mean_norm: number | null }[];
  dtype: 'float16' | 'float32';
  /** How far bfloat16 products took the rows from float32's, per hook. */
  deviation?: Record<string, Deviation>;
  /** Contexts and tokens of the whole corpus; rows after special tokens and positions are left out. */
  contexts: number;
  tokens: number;
  rows: number;
  shards: number;
  /** Shards that were finished before, and those made now. */
  shards_skipped: number;
  shards_made: number;
  /** Bytes of the finished shards. */
  bytes: number;
  /** Of this run: time in the loop, and tokens that went through the model per second of it. */
  seconds: number;
  tokens_per_second: number;
  /** False while another range of shards is missing. */
  complete: boolean;
}

/**
 * Harvests activations into a folder of Arrow shards that `openShards` and Python's `datasets.load_from_disk` read.
 * @throws UnfoldError `unknown-hook`, `bad-hook`, `bad-setting`, `settings-differ`, `locked`, `disk-full`, `not-finite`,
 * `float16-overflow`, `stopped` (by `context.signal`), and those of model, tokeniser and text
 */
export async function harvest(
  options: HarvestOptions,
  context: StageContext,
  given: GivenInputs = {},
): Promise<HarvestResult> {
  const { out, shards, force, ...rest } = options;
  const settings = parseSettings(rest);
  const inputs = await openInputs(settings, context, given);
  try {
    return await harvestInto(out, { settings: inputs.settings, inputs, shards, force }, context);
  } finally {
    inputs.close();
  }
}

/** The files of a harvest, and which of them are not there yet. */
export interface HarvestOutlook {
  plan: HarvestPlan;
  /** By sidecars and sizes alone; {@link harvest} looks at the bytes too. */
  missing: readonly PlannedShard[];
}

/**
 * What {@link harvest} with the same options would make; writes and computes nothing.
 * @throws UnfoldError as {@link harvest}
 */
export async function planOfHarvest(
  { out, shards: _range, force: _force, ...rest }: HarvestOptions,
  context: StageContext,
): Promise<HarvestOutlook> {
  const settings = parseSettings(rest);
  const inputs = await openInputs(settings, context, {});
  try {
    const forward = new BlockForward(inputs.model, inputs.corpus, inputs.forward);
    const plan = planFor(settings, forward, inputs);
    return { plan, missing: await unfinishedShards(out, plan.shards, forward.contentHash) };
  } finally {
    inputs.close();
  }
}

function planFor(
  settings: ResolvedHarvestSettings,
  forward: BlockForward,
  inputs: HarvestInputs,
): HarvestPlan {
  return planHarvest({
    hooks: forward.hooks,
    dtype: inputs.forward.dtype,
    blockRows: forward.blockRows,
    fullBlockRows: settings.batch_contexts * inputs.forward.rule.positions.length,
    shardRows: settings.shard_rows,
  });
}

interface Job {
  settings: ResolvedHarvestSettings;
  inputs: HarvestInputs;
  shards: string | undefined;
  force: boolean | undefined;
}

async function harvestInto(out: string, job: Job, outer: StageContext): Promise<HarvestResult> {
  const { settings, inputs } = job;
  const forward = new BlockForward(inputs.model, inputs.corpus, inputs.forward);
  const plan = planFor(settings, forward, inputs);
  const range = parseShardRange(job.shards, plan.shards.length);
  const unlock = await lockShards(out, range, outer);
  const context = alsoStoppedBy(unlock.signal, outer);
  try {
    const manifest = await begin(out, await startManifest(settings, forward, plan, context));
    const wanted = plan.shards.slice(range.first, range.last + 1);
    const done = await finishedShards(out, wanted, manifest.content_hash, context);
    const missing = wanted.filter(({ index }) => !done.has(index));
    const bytes = missing.reduce((sum, shard) => sum + shard.bytes, 0);
    announce(context, forward, plan, missing, bytes);
    if (!job.force) await checkDisk(out, bytes);
    const { seconds, tokens } = await makeShards(out, missing, forward, inputs.forward.dtype, context);
    const finished = await finishHarvest(out, manifest, plan);
    return {
      out,
      content_hash: manifest.content_hash,
      hooks: forward.hooks.map((hook) => ({ ...hook, mean_norm: finished.mean_norm[hook.name] ?? null })),
      dtype: inputs.forward.dtype,
      ...(manifest.deviation && { deviation: manifest.deviation }),
      contexts: inputs.corpus.contexts,
      tokens: inputs.corpus.contexts * inputs.corpus.contextSize,
      rows: plan.rows,
      shards: plan.shards.length,
      shards_skipped: done.size,
      shards_made: missing.length,
      bytes: finished.bytes,
      seconds,
      tokens_per_second: seconds > 0 ? tokens / seconds : 0,
      complete: finished.complete,
    };
  } finally {
    unlock();
  }
}

/** Makes the missing shards; returns the time of the loop and the tokens that went through the model. */
async function makeShards(
  out: string,
  missing: readonly PlannedShard[],
  forward: BlockForward,
  dtype: ShardDtype,
  context: StageContext,
): Promise<{ seconds: number; tokens: number }> {
  if (!missing.length) return { seconds: 0, tokens: 0 };
  const buffers = blockBuffers(forward, dtype);
  const total = missing.reduce((sum, shard) => sum + tokensOf(shard, forward), 0);
  const bar = context.bar('harvest', total, 'tokens');
  const began = performance.now();
  let tokens = 0;
  let made = 0;
  for (const shard of missing) {
    const progress = (more: number) => {
      tokens += more;
      bar.update(tokens, `shard ${shard.index + 1}`);
    };
    await harvestShard(join(out, shard.file), shard, {
      forward,
      buffers,
      dtype,
      context,
      progress,
    });
    made++;
    bar.update(tokens, `shard ${shard.index + 1}`, {
      shards_made: made,
      shards_missing: missing.length - made,
    });
  }
  const seconds = (performance.now() - began) / 1000;
  bar.finish();
  return { seconds, tokens };
}

function tokensOf({ firstBlock, blocks }: PlannedShard, forward: BlockForward): number {
  let tokens = 0;
  for (let block = firstBlock; block < firstBlock + blocks; block++) tokens += forward.tokenCount(block);
  return tokens;
}

/** The manifest in the folder, which must be of this very harvest; written if there is none. */
async function begin(out: string, manifest: Manifest): Promise<Manifest> {
  const old = await readManifest(out, 'go on');
  if (old) checkSameHarvest(out, old, manifest);
  else await writeManifest(out, manifest);
  return old ?? manifest;
}

async function startManifest(
  settings: ResolvedHarvestSettings,
  forward: BlockForward,
  plan: HarvestPlan,
  context: StageContext,
): Promise<Manifest> {
  const { stored, compute } = precisionOf(settings.dtype);
  const deviation = compute === 'bfloat16' ? await measureDeviation(forward, context) : undefined;
  return {
    format: 'unfold-shards-1',
    unfold: packageVersion(),
    complete: false,
    content_hash: forward.contentHash,
    hashes: forward.identity.hashes,
    hooks: [...forward.hooks],
    dtype: stored,
    ...(deviation && { deviation }),
    settings,
    rows: plan.rows,
    blocks: plan.blocks,
    shard_count: plan.shards.length,
    blocks_per_shard: plan.blocksPerShard,
    mean_norm: {},
    shards: [],
  };
}

function announce(
  context: StageContext,
  { hooks }: BlockForward,
  plan: HarvestPlan,
  missing: readonly PlannedShard[],
  bytes: number,
): void {
  const names = hooks.map(({ name, width }) => `${name} [${width}]`).join(', ');
  context.note(
    `${plan.rows.toLocaleString('en')} rows of ${names} in ${plan.shards.length} shards, ${gigabytes(plan.bytes)}`,
  );
  const skipped = plan.shards.length - missing.length;
  if (skipped) context.note(`${missing.length} shards to make (${gigabytes(bytes)})`);
}

function parseSettings(settings: HarvestSettings): ResolvedHarvestSettings {
  return checked(harvestSchema, settings, {
    where: 'harvest settings',
    todo: 'unfold harvest --help lists the settings',
  });
}
