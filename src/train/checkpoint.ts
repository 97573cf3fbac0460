/**
 * @file Checkpoints from which a run goes on bit for bit: `checkpoints/step-N/` holds the coder in SAELens's layout, the
 * moments, every counter, sum and position, and the lines of metrics so far. The folder is written under another name,
 * fsynced and renamed, so one that can be seen is whole; all its files are checked before it is used (checkpoint-state.ts),
 * and a damaged one is passed over.
 */
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CFG_FILE, fileConfig, SCALER_FILE, WEIGHTS_FILE, writeWeights } from '../coders/formats/saelens.ts';
import { architectureNamed } from '../coders/registry.ts';
import type { Parameters, TrainingCoder } from '../coders/training.ts';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { writeFileAtomically, writeFolder, writeJson } from '../files.ts';
import { inWords, recordFiles } from '../inventory.ts';
import { openSafetensors } from '../model/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../model/safetensors-write.ts';
import { writeSealed } from '../seal.ts';
import * as tf from '../tensor/tf.ts';
import { lookAtCheckpoint, STATE_FILE, type StoredState } from './checkpoint-state.ts';
import type { ControllerState } from './controller.ts';
import type { LatentCounters } from './dead-latents.ts';
import { parameter } from './initialise.ts';
import { METRICS_FILE, type WindowSums } from './metrics.ts';
import type { HookScales } from './rows.ts';
import { readWhitening, type WhiteningMap, whiteningFile } from './whitening.ts';

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
  const path = join(parent, `step-${state.step}`);
  await writeFolder(path, 'all', async (part) => {
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
    if (plain.metricsBytes > 0)
      await writeFileAtomically(join(part, METRICS_FILE), await metricsUpTo(dir, plain.metricsBytes));
    const { currentTokens, previousTokens } = counters;
    const stored: StoredState = {
      format: 'unfold-train-state-3',
      runHash,
      ...plain,
      counters: { currentTokens, previousTokens },
      statistics: coder.statistics,
      keep,
      files: await recordFiles(part, await readdir(part)),
    };
    await writeSealed(join(part, STATE_FILE), stored);
  });
  await prune(parent);
  return path;
}

/** The lines that the checkpoint knows of. @throws UnfoldError `damaged` where they are not there */
async function metricsUpTo(dir: string, bytes: number): Promise<Buffer> {
  const content = await readFile(join(dir, METRICS_FILE)).catch(() => Buffer.alloc(0));
  if (endsALine(content, bytes)) return content.subarray(0, bytes);
  throw new UnfoldError('damaged', {
    where: join(dir, METRICS_FILE),
    expected: `the ${bytes} bytes of metrics that were written`,
    found: `${content.length} bytes, changed by somebody else while the run went on`,
    todo: 'run the same command again: it goes on from the last checkpoint, which has them',
  });
}

/** True if the first `bytes` are there and end with a line. */
function endsALine(content: Buffer, bytes: number): boolean {
  return content.length >= bytes && (bytes === 0 || content[bytes - 1] === 0x0a);
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
  const { stored } = await lookAtCheckpoint(path, 'state');
  if (!stored?.keep) await rm(path, { recursive: true, force: true });
}

/** What a run goes on from. */
export interface Restored {
  state: RunState;
  parameters: Parameters;
  statistics: Record<string, number>;
  /** The lines of metrics.jsonl so far. */
  metrics: Uint8Array;
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
    const { stored, isOld, damage } = await lookAtCheckpoint(path);
    const [first] = damage;
    if (first) {
      context.warn(`${join(path, first.file)} is damaged (${inWords(first)}): the checkpoint is passed over`);
      continue;
    }
    if (stored!.runHash !== runHash) {
      context.warn(`${path} belongs to another run: passed over`);
      continue;
    }
    const metrics = await metricsFor(dir, path, stored!, context);
    if (!metrics) continue;
    if (isOld)
      context.warn(`${path}: written by an earlier version, its ${STATE_FILE} cannot be checked for damage`);
    return { ...(await restore(path, stored!, counters)), metrics };
  }
  return undefined;
}

/** The lines of metrics that belong to a checkpoint, out of it; out of the run where it is an earlier version's. */
async function metricsFor(
  dir: string,
  path: string,
  { metricsBytes }: StoredState,
  context: StageContext,
): Promise<Uint8Array | undefined> {
  if (metricsBytes === 0) return new Uint8Array();
  const file = join(dir, METRICS_FILE);
  const there = await readFile(file).catch(() => Buffer.alloc(0));
  const own = await readFile(join(path, METRICS_FILE)).catch(() => undefined);
  if (own) {
    if (!there.subarray(0, metricsBytes).equals(own))
      context.warn(`${file} was damaged or is gone: its lines are put back from ${path}`);
    return own;
  }
  if (endsALine(there, metricsBytes)) return there.subarray(0, metricsBytes);
  context.warn(
    `${file} is shorter than ${path} knows it (${there.length} instead of ${metricsBytes} bytes): passed over`,
  );
  return undefined;
}

async function restore(
  path: string,
  stored: StoredState,
  counters: LatentCounters,
): Promise<Omit<Restored, 'metrics'>> {
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
