/**
 * @file config.json of a run: what was asked for with every default filled in, which rows, and the cfg.json that will
 * come out. Its `run` hash covers what determines the weights, so that a folder is only ever continued by the same run.
 */

import { join } from 'node:path';
import { checkedConfig } from '../coders/checked-config.ts';
import { type CoderConfig, coderConfig } from '../coders/config.ts';
import { trainableNamed } from '../coders/registry.ts';
import type { CoderHooks } from '../coders/training.ts';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { exists, hashOf, readJson } from '../files.ts';
import { readSealed, writeSealed } from '../seal.ts';
import type { BlockSource } from '../shards/block-source.ts';
import { checkpointSteps, checkpointsOf } from './checkpoint.ts';
import { lookAtCheckpoint } from './checkpoint-state.ts';
import { namesOf, widthOf } from './hooks.ts';
import { coderMetadata, type RowsOrigin } from './metadata.ts';
import type { TrainSettings } from './settings.ts';

const CONFIG = 'config.json';

/** config.json: everything that determines the weights, and what does not (`run` is the hash of the former). */
export interface RunConfig {
  run: string;
  settings: TrainSettings;
  /** What is read and what is predicted (nothing: the same). */
  hooks: CoderHooks;
  /** Content hash of the rows. */
  rows: string;
  cfg: CoderConfig;
}

/** Puts config.json together. */
export function runConfig(
  settings: TrainSettings,
  hooks: CoderHooks,
  source: Pick<BlockSource, 'contentHash'>,
  origin: RowsOrigin,
): RunConfig {
  const cfg = configOfCoder(settings, hooks, coderMetadata(settings, hooks, origin, source.contentHash));
  const { checkpoint_every_minutes, checkpoint_every_steps, n_checkpoints, ...decisive } = settings;
  const run = hashOf({ settings: decisive, hooks, rows: source.contentHash });
  return { run, settings, hooks, rows: source.contentHash, cfg };
}

function configOfCoder(
  settings: TrainSettings,
  hooks: CoderHooks,
  metadata: Record<string, unknown>,
): CoderConfig {
  const { schema, training } = trainableNamed(settings.architecture, 'architecture');
  const keys = training.coderKeys ?? [];
  const { architecture, d_sae, dtype, apply_b_dec_to_input, normalize_activations, reshape_activations } =
    settings;
  const shared = {
    architecture,
    ...(training.widths?.(hooks) ?? widths(hooks)),
    d_sae,
    dtype,
    apply_b_dec_to_input,
    normalize_activations,
    reshape_activations,
  };
  const own = Object.fromEntries(keys.map((key) => [key, settings.coder[key]]));
  return checkedConfig(schema, checkedConfig(coderConfig, { ...shared, ...own, metadata }));
}

function widths({ in: inputs, out }: CoderHooks): Record<string, number> {
  return { d_in: widthOf(inputs), ...(out.length > 0 && { d_out: widthOf(out) }) };
}

/**
 * Writes config.json, or makes sure that the one that is there describes the same run. A damaged one is written again
 * where nothing speaks for another run.
 * @throws UnfoldError `run-differs`; `damaged` where it cannot be told whose the folder is
 */
export async function beginRun(dir: string, config: RunConfig, context: StageContext): Promise<void> {
  const path = join(dir, CONFIG);
  if (!(await exists(path))) return writeSealed(path, config);
  const todo = `remove ${path} if you are sure that the folder is of this run, or choose another --out`;
  const old = (await readSealed(path, todo).catch((error: unknown) => {
    if (error instanceof UnfoldError && error.kind !== 'unreadable') return error;
    throw error;
  })) as RunConfig | UnfoldError;
  if (old instanceof UnfoldError) {
    if (!(await isOfThisRun(dir, config.run))) throw old;
    context.warn(`${path} is damaged (${old.lesson.found}): written again`);
    return writeSealed(path, config);
  }
  if (old.run === config.run) return;
  const changed = [...differences(old, config)];
  throw new UnfoldError('run-differs', {
    where: path,
    expected: `the run begun here: ${changed.map(([key, before]) => `${key} ${before}`).join(', ')}`,
    found: `a run with ${changed.map(([key, , now]) => `${key} ${now}`).join(', ')}`,
    todo: 'choose another --out, use the old settings, or delete the folder',
  });
}

/** True if the folder holds nothing of a run, or what its checkpoints or manifest say is this one. */
async function isOfThisRun(dir: string, run: string): Promise<boolean> {
  const manifest = await readJson(join(dir, 'manifest.json')).catch(() => undefined);
  const runs = [(manifest as Partial<RunConfig> | undefined)?.run];
  for (const step of await checkpointSteps(dir)) {
    const { stored } = await lookAtCheckpoint(join(checkpointsOf(dir), `step-${step}`), 'state');
    runs.push(stored?.runHash);
  }
  return runs.every((known) => known === undefined || known === run);
}

function* differences(old: RunConfig, now: RunConfig): Generator<[string, string, string]> {
  const flat = ({ settings, hooks, rows }: RunConfig): Record<string, unknown> => ({
    ...settings,
    ...settings.coder,
    coder: undefined,
    hooks: hooks && namesOf(hooks),
    rows,
  });
  const [a, b] = [flat(old), flat(now)];
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const [before, after] = [JSON.stringify(a[key]), JSON.stringify(b[key])];
    if (before !== after) yield [key, before ?? 'unset', after ?? 'unset'];
  }
}
