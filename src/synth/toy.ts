/** @file The toy models behind `unfold synth --toy`: one for each sparsity, a picture of all, and their numbers. */
import { join } from 'node:path';
import type { StageContext } from '../context.ts';
import { makeFolder } from '../folders.ts';
import { recordFiles } from '../inventory.ts';
import { writeSealed } from '../seal.ts';
import { drawSuperposition } from './picture.ts';
import { superposition, type ToyResult } from './superposition.ts';

/** What is to be drawn. */
export interface ToyOptions {
  out: string;
  features: number;
  /** How often each feature fires, one model each. */
  probabilities: readonly number[];
}

/** What was drawn. */
export interface ToyRun {
  picture: string;
  models: ToyResult[];
}

/** Elhage et al. weigh their five features by 0.9^i. */
const FIXED = { hidden: 2, importance_decay: 0.9, steps: 2000, batch: 512, seed: 42 };

/** Trains the models and writes superposition.svg and superposition.json. */
export async function runToy(
  { out, features, probabilities }: ToyOptions,
  context: StageContext,
): Promise<ToyRun> {
  const bar = context.bar('toy models', probabilities.length, 'models');
  const models: ToyResult[] = [];
  for (const probability of probabilities) {
    models.push(await superposition({ ...FIXED, features, probability }, context));
    bar.update(models.length);
  }
  bar.finish();
  await makeFolder(out);
  const picture = join(out, 'superposition.svg');
  await drawSuperposition(picture, models);
  const files = await recordFiles(out, ['superposition.svg']);
  await writeSealed(join(out, 'superposition.json'), { format: 'unfold-toy-1', models, files });
  return { picture, models };
}
