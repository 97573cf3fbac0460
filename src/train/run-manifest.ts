/**
 * @file manifest.json of a finished run: what it came to, and every file of it with size and SHA-256. A run counts as
 * finished while they agree; what is damaged is named and made again from the last checkpoint, to the same bytes.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WEIGHTS_FILE } from '../coders/formats/saelens.ts';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { exists } from '../files.ts';
import { type Damage, damageOf, hashOfFile, inWords, recordsOf, takeInventory } from '../inventory.ts';
import { readSealed, writeSealed } from '../seal.ts';
import { checkpointSteps, checkpointsOf } from './checkpoint.ts';
import { lookAtCheckpoint } from './checkpoint-state.ts';

const MANIFEST = 'manifest.json';
/** Folder of the exported coder. */
export const FINAL = 'final';

/** What every such manifest says. */
interface AnyRun {
  /** Hash of config.json. */
  run: string;
  /** SHA-256 of final/sae_weights.safetensors. */
  weights: string;
}

/** Writes manifest.json, which lists all that the run wrote but its checkpoints: those list their own files. */
export async function writeRunManifest(dir: string, manifest: AnyRun): Promise<void> {
  const files = await takeInventory(dir, (file) => isOfRun(file));
  await writeSealed(join(dir, MANIFEST), { ...manifest, files });
}

const isOfRun = (file: string) =>
  file.startsWith(`${FINAL}/`) || file === 'config.json' || file === 'metrics.jsonl';

/** Whether a run directory holds a finished run, of whatever settings, whose files agree with its manifest. */
export async function hasFinished(dir: string): Promise<boolean> {
  const looked = await lookAtRun(dir);
  return looked !== undefined && looked.damage.length === 0;
}

/**
 * The manifest of the run whose config.json has the hash `run`, if it is finished and sound. Damaged files are warned about
 * and removed, so that they are made again.
 */
export async function finishedManifestOf<M extends AnyRun>(
  dir: string,
  run: string,
  context: StageContext,
): Promise<M | undefined> {
  const looked = await lookAtRun(dir);
  if (!looked) return undefined;
  const { manifest, damage } = looked;
  if (manifest && manifest.run !== run) return undefined;
  for (const one of damage) {
    context.warn(`${join(dir, one.file)} is damaged (${inWords(one)}): it is made again`);
    await rm(join(dir, one.file), { force: true });
  }
  if (damage.length > 0) return undefined;
  await warnOfCheckpoints(dir, context);
  return manifest as M;
}

async function lookAtRun(dir: string): Promise<{ manifest?: AnyRun; damage: Damage[] } | undefined> {
  const path = join(dir, MANIFEST);
  if (!(await exists(path))) return undefined;
  const manifest = await readSealed(path, 'run the same command again').catch((error: unknown) => error);
  if (manifest instanceof Error) {
    const found = manifest instanceof UnfoldError ? manifest.lesson.found : manifest.message;
    return { damage: [{ file: MANIFEST, expected: 'the manifest of a finished run', found }] };
  }
  const records = recordsOf(manifest);
  const damage =
    records.length > 0 ? await damageOf(dir, records) : await damageOfOld(dir, manifest as AnyRun);
  return { manifest: manifest as AnyRun, damage };
}

/** Of an earlier version, whose manifest knows the weights alone. */
async function damageOfOld(dir: string, { weights }: AnyRun): Promise<Damage[]> {
  const file = `${FINAL}/${WEIGHTS_FILE}`;
  const path = join(dir, file);
  const found = (await exists(path)) ? await hashOfFile(path) : 'no such file';
  return found === weights ? [] : [{ file, expected: `SHA-256 ${weights}`, found }];
}

/** A finished run is not made again for the sake of a checkpoint; but nobody is to load it unaware. */
export async function warnOfCheckpoints(dir: string, context: StageContext): Promise<void> {
  for (const step of await checkpointSteps(dir)) {
    const path = join(checkpointsOf(dir), `step-${step}`);
    const [first] = (await lookAtCheckpoint(path)).damage;
    if (first)
      context.warn(
        `${join(path, first.file)} is damaged (${inWords(first)}); the finished coder is not affected, the checkpoint can be removed`,
      );
  }
}

/** The same of every run below `dir`. */
export async function warnOfCheckpointsBelow(dir: string, context: StageContext): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true }).catch(() => [])) {
    if (!entry.isDirectory()) continue;
    if (entry.name === 'checkpoints') await warnOfCheckpoints(dir, context);
    else await warnOfCheckpointsBelow(join(dir, entry.name), context);
  }
}
