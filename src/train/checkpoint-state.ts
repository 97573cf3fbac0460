/**
 * @file state.json of a checkpoint: all that a run is beside its tensors, the size and SHA-256 of every other file of the
 * folder, and a seal over itself. Those of earlier versions have hashes of the tensors only and no seal: they are
 * used, with a word that says so, if everything is there.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson } from '../files.ts';
import { type Damage, damageOfFile, type FileRecord, fileRecordSchema } from '../inventory.ts';
import { sealOf } from '../seal.ts';
import type { ControllerState } from './controller.ts';
import type { WindowSums } from './metrics.ts';
import type { HookScales } from './rows.ts';

export const STATE_FILE = 'state.json';

/** state.json. */
export interface StoredState {
  format: 'unfold-train-state-3';
  /** Of config.json: a checkpoint is only used by the run it belongs to. */
  runHash: string;
  step: number;
  position: number;
  scales: HookScales;
  metricsBytes: number;
  sums: WindowSums;
  controller?: ControllerState;
  resampled?: number;
  counters: { currentTokens: number; previousTokens: number };
  /** See TrainingCoder.statistics. */
  statistics: Record<string, number>;
  /** Kept for good (n_checkpoints), not just to resume. */
  keep: boolean;
  /** Every other file of the folder. */
  files: FileRecord[];
}

const numbers = z.array(z.number());

/** What a state must have to be gone on from; asked of those that vouch for themselves, too. */
const stateSchema = z.looseObject({
  format: z.enum(['unfold-train-state-2', 'unfold-train-state-3']),
  runHash: z.string(),
  step: z.int().nonnegative(),
  position: z.int().nonnegative(),
  scales: z.object({ in: numbers, out: numbers }),
  metricsBytes: z.int().nonnegative(),
  sums: z.object({
    steps: z.int().nonnegative(),
    rows: z.int().nonnegative(),
    losses: z.record(z.string(), z.number().nullable()),
    loss: z.number().nullable(),
    gradNorm: z.number().nullable(),
    active: z.number(),
    squaredError: z.number().nullable(),
    squaredErrors: z.array(z.number().nullable()),
    squares: numbers,
    sum: numbers,
  }),
  counters: z.object({ currentTokens: z.number(), previousTokens: z.number() }),
  statistics: z.record(z.string(), z.number().nullable()),
  keep: z.boolean(),
  files: z.array(fileRecordSchema).optional(),
  sha256: z.record(z.string(), z.string()).optional(),
});

/** A checkpoint that was looked at. */
export interface Looked {
  /** Undefined if state.json cannot be used at all. */
  stored?: StoredState;
  /** Of an earlier version: state.json and the small files vouch for nothing. */
  isOld?: boolean;
  damage: Damage[];
}

/** Looks at the checkpoint in `dir`; every byte of it. `only` the state, where its files do not matter. */
export async function lookAtCheckpoint(dir: string, only?: 'state'): Promise<Looked> {
  const path = join(dir, STATE_FILE);
  const damaged = (found: string): Looked => ({
    damage: [{ file: STATE_FILE, expected: 'the state of a checkpoint, whole', found }],
  });
  const json = await readJson(path).catch((error: Error) => error);
  if (json instanceof Error) return damaged((await isThere(path)) ? 'what does not parse' : 'no such file');
  const parsed = stateSchema.safeParse(json);
  if (!parsed.success) return damaged(`${parsed.error.issues[0]!.path.join('.')} missing or wrong`);
  const isOld = parsed.data.format === 'unfold-train-state-2';
  if (!isOld && sealOf(json) !== 'sound') return damaged('another content than its seal was made of');
  const stored = json as StoredState;
  if (only) return { stored, isOld, damage: [] };
  const damage = isOld
    ? await damageOfOld(dir, parsed.data.sha256 ?? {})
    : await damageOfFiles(dir, stored.files);
  return { stored, isOld, damage };
}

async function damageOfFiles(dir: string, files: readonly FileRecord[]): Promise<Damage[]> {
  const damages: Damage[] = [];
  for (const record of files) {
    const damage = await damageOfFile(join(dir, record.file), record);
    if (damage) damages.push(damage);
  }
  return damages;
}

async function damageOfOld(dir: string, hashes: Readonly<Record<string, string>>): Promise<Damage[]> {
  const damages: Damage[] = [];
  for (const [file, sha256] of Object.entries(hashes)) {
    const bytes = (await stat(join(dir, file)).catch(() => undefined))?.size ?? 0;
    const damage = await damageOfFile(join(dir, file), { file, bytes, sha256 });
    if (damage) damages.push(damage);
  }
  return damages;
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
