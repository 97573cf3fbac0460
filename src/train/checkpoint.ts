/**
 * @file Checkpoints from which a run goes on bit for bit: `checkpoints/step-N/` holds the coder in SAELens's layout, the
 * moments, and every counter, sum and position. The folder is written under another name, fsynced and renamed, so one
 * that can be seen is whole; its files' hashes are compared before it is used, and a damaged one is passed over.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CFG_FILE, fileConfig, SCALER_FILE, WEIGHTS_FILE, writeWeights } from '../coders/formats/saelens.ts';
import { architectureNamed } from '../coders/registry.ts';
import type { Parameters, TrainingCoder } from '../coders/training.ts';
import type { StageContext } from '../context.ts';
import { exists, explainDisk, publishFolder, readJson, sha256File, writeJson } from '../files.ts';
import { openSafetensors } from '../model/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../model/safetensors-write.ts';
import { partOf, removeParts } from '../parts.ts';
import * as tf from '../tensor/tf.ts';
import type { ControllerState } from './controller.ts';
import type { LatentCounters } from './dead-latents.ts';
import { parameter } from './initialise.ts';
import type { WindowSums } from './metrics.ts';
import type { HookScales } from './rows.ts';
import { readWhitening, type WhiteningMap, whiteningFile } from './whitening.ts';

const STATE_FILE = 'state.json';
const MOMENTS_FILE = 'state.safetensors';
/** SAELens's name. */
const WHITENING_FILE = 'activation_whitening.safetensors';
/** Checkpoints to resume from; one more than needed, should the newest be damaged. */
const KEPT = 2;

/** All that a run is, beside its settings, parameters and latent counters. */
export interface RunState {
  /** Steps done; also the power in Adam's bias correction. */
  step: number;
  /** Rows consumed: the position in the shuffled stream. The order is a function of seed and position alone. */
  position: number;
  /** Factors on the rows of every hook. */
  scales: HookScales;
  /** Length of metrics.jsonl, and the sums of the line being filled. */
  metricsBytes: number;
  sums: WindowSums;
  /** Of the controller of target_l0, once it has seen a step. */
  controller?: ControllerState;
  /** Latents that began anew so far, where they do. */
  resampled?: number;
  /** Under covariance_whitening: the map that rows go through. In a file of its own. */
  whitening?: WhiteningMap;
}

interface StoredState extends Omit<RunState, 'whitening'> {
  format: 'unfold-train-state-2';
  /** Of config.json: a checkpoint is only used by the run it belongs to. */
  runHash: string;
  counters: { currentTokens: number; previousTokens: number };
  /** See {@link TrainingCoder.statistics}. */
  statistics: Record<string, number>;
  /** Kept for good (n_checkpoints), not just to resume. */
  keep: boolean;
  sha256: Record<string, string>;
}

/** Folder of checkpoints of a run. */
export const checkpointsOf = (dir: string): string => join(dir, 'checkpoints');

/**
 * Writes `checkpoints/step-N` and removes older ones that are not wanted any more.
 * @throws UnfoldError `disk-full`; older checkpoints are untouched then
 */
export async function saveCheckpoint(
  dir: string,
  runHash: string,
  {
    coder,
    counters,
    state,
    keep,
  }: { coder: TrainingCoder; counters: LatentCounters; state: RunState; keep: boolean },
): Promise<string> {
  const parent = checkpointsOf(dir);
  const name = `step-${state.step}`;
  const path = join(parent, name);
  const part = partOf(path);
  try {
    await removeParts(path, 'all');
    await mkdir(part, { recursive: true });
    const values = Object.entries(coder.parameters).map(([key, { value }]) => [key, value as tf.Tensor]);
    const scalars = scalarsOf(coder);
    await writeWeights(join(part, WEIGHTS_FILE), { ...Object.fromEntries(values), ...scalars });
    tf.dispose(scalars);
    await writeSafetensors(join(part, MOMENTS_FILE), await momentTensors(coder.parameters, counters));
    const { whitening, ...plain } = state;
    if (coder.cfg.normalize_activations === 'expected_average_only_in')
      await writeJson(join(part, SCALER_FILE), scalerFile(state.scales));
    if (whitening) {
      await writeJson(join(part, SCALER_FILE), { scaling_factor: null, has_whitening: true });
      await writeSafetensors(join(part, WHITENING_FILE), whiteningFile(whitening));
    }
    await writeJson(join(part, CFG_FILE), fileConfig(coder.cfg));
    const sha256: Record<string, string> = {};
    const files = [WEIGHTS_FILE, MOMENTS_FILE, ...(whitening ? [WHITENING_FILE] : [])];
    for (const file of files) sha256[file] = await sha256File(join(part, file));
    const { currentTokens, previousTokens } = counters;
    const stored: StoredState = {
      format: 'unfold-train-state-2',
      runHash,
      ...plain,
      counters: { currentTokens, previousTokens },
      statistics: coder.statistics,
      keep,
      sha256,
    };
    await writeJson(join(part, STATE_FILE), stored);
    await publishFolder(part, path);
  } catch (error) {
    await rm(part, { recursive: true, force: true });
    throw explainDisk(error, path);
  }
  await prune(parent);
  return path;
}

/** Statistics that belong to the weights, as in SAELens's checkpoints (`topk_threshold`): the coder can be loaded then. */
function scalarsOf({ cfg, statistics }: TrainingCoder): Record<string, tf.Tensor> {
  const { shapes, tensors } = architectureNamed(cfg.architecture, 'training');
  const scalars = Object.entries(tensors?.(cfg) ?? shapes).filter(([, shape]) => shape.length === 0);
  return Object.fromEntries(scalars.map(([name]) => [name, tf.scalar(statistics[name] ?? 0)]));
}

/** SAELens's file, which knows one factor; those of all hooks beside it where there are more. */
function scalerFile({ in: inputs, out }: HookScales): Record<string, unknown> {
  const scaler = { scaling_factor: inputs[0], has_whitening: false };
  return inputs.length + out.length === 1 ? scaler : { ...scaler, scaling_factors: { in: inputs, out } };
}

/** Moments feature-major as they are used, and the counters. */
async function momentTensors(
  parameters: Parameters,
  counters: LatentCounters,
): Promise<Record<string, TensorToWrite>> {
  const tensors: Record<string, TensorToWrite> = {};
  for (const [name, { m, v }] of Object.entries(parameters)) {
    for (const [moment, variable] of Object.entries({ m, v })) {
      tensors[`${moment}/${name}`] = { shape: variable.shape, data: (await variable.data()) as Float32Array };
    }
  }
  const { tokensSinceFired, current, previous } = counters;
  for (const [name, data] of Object.entries({ tokensSinceFired, current, previous })) {
    tensors[`latents/${name}`] = { shape: [data.length], data };
  }
  return tensors;
}

/** Steps of the finished checkpoints, newest first. */
export async function checkpointSteps(dir: string): Promise<number[]> {
  const names = await readdir(checkpointsOf(dir)).catch(() => []);
  return names
    .flatMap((name) => /^step-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => b - a);
}

async function prune(parent: string): Promise<void> {
  const steps = await checkpointSteps(join(parent, '..'));
  for (const step of steps.slice(KEPT)) await removeUnlessKept(join(parent, `step-${step}`));
}

/** Removes checkpoints of later steps, unless they are kept for good: of a run that went wrong after `step`. */
export async function forgetAfter(dir: string, step: number): Promise<void> {
  for (const later of await checkpointSteps(dir)) {
    if (later > step) await removeUnlessKept(join(checkpointsOf(dir), `step-${later}`));
  }
}

async function removeUnlessKept(path: string): Promise<void> {
  const state = (await readJson(join(path, STATE_FILE)).catch(() => undefined)) as StoredState | undefined;
  if (!state?.keep) await rm(path, { recursive: true, force: true });
}

/** What a run goes on from. */
export interface Restored {
  state: RunState;
  parameters: Parameters;
  statistics: Record<string, number>;
}

/**
 * The newest checkpoint of this run that is sound; damaged ones are warned about and passed over. `counters` is filled.
 * Undefined if there is none.
 */
export async function restoreCheckpoint(
  dir: string,
  runHash: string,
  counters: LatentCounters,
  context: StageContext,
): Promise<Restored | undefined> {
  for (const step of await checkpointSteps(dir)) {
    const path = join(checkpointsOf(dir), `step-${step}`);
    const stored = (await readJson(join(path, STATE_FILE)).catch(() => undefined)) as StoredState | undefined;
    if (stored?.runHash === runHash && (await isSound(path, stored))) return restore(path, stored, counters);
    context.warn(`${path} is damaged or belongs to another run: passed over`);
  }
  return undefined;
}

async function isSound(path: string, stored: StoredState): Promise<boolean> {
  for (const [file, hash] of Object.entries(stored.sha256)) {
    const at = join(path, file);
    if (!(await exists(at)) || (await sha256File(at)) !== hash) return false;
  }
  return true;
}

async function restore(path: string, stored: StoredState, counters: LatentCounters): Promise<Restored> {
  const weights = await openSafetensors(join(path, WEIGHTS_FILE));
  const moments = await openSafetensors(join(path, MOMENTS_FILE));
  const parameters: Record<string, Parameters[string]> = {};
  try {
    for (const name of weights.names().filter((name) => moments.info(`m/${name}`))) {
      const stored = await weights.readFloat32(name);
      const shape = moments.info(`m/${name}`)!.shape;
      const value = name === 'W_enc' ? transposed(stored, shape) : stored;
      parameters[name] = parameter(
        value,
        shape,
        await moments.readFloat32(`m/${name}`),
        await moments.readFloat32(`v/${name}`),
      );
    }
    for (const name of ['tokensSinceFired', 'current', 'previous'] as const) {
      counters[name].set((await moments.read(`latents/${name}`)).data as Int32Array);
    }
  } finally {
    await weights.close();
    await moments.close();
  }
  Object.assign(counters, stored.counters);
  const { step, position, scales, metricsBytes, sums, controller, resampled, statistics } = stored;
  const whitening = await readWhitening(join(path, WHITENING_FILE));
  const state: RunState = { step, position, scales, metricsBytes, sums, controller, resampled, whitening };
  return { state, parameters, statistics };
}

/** [columns, rows] row-major → [rows, columns]. */
function transposed(values: Float32Array, [rows, columns]: number[]): Float32Array {
  const result = new Float32Array(values.length);
  for (let i = 0; i < rows!; i++) {
    for (let j = 0; j < columns!; j++) result[i * columns! + j] = values[j * rows! + i]!;
  }
  return result;
}
