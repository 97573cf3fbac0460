/** @file Stage `evaluate`: the coder, or each coder of a sweep, on held-out text, alone and in the model. */
import { join } from 'node:path';
import { z } from 'zod';
import { checked } from '../../checked.ts';
import { loadCoder } from '../../coders/coder.ts';
import { alsoStoppedBy, type StageContext } from '../../context.ts';
import { internal } from '../../errors.ts';
import type { Metrics } from '../../evaluate/definitions.ts';
import { evaluate } from '../../evaluate/evaluate.ts';
import { evaluateLayers } from '../../evaluate/evaluate-layers.ts';
import { exclusionsOf } from '../../evaluate/exclusions.ts';
import { layersJson, writeLayersLatents } from '../../evaluate/layers-report.ts';
import { replacementOf } from '../../evaluate/replacement.ts';
import { evaluationJson, writePerLatent } from '../../evaluate/report.ts';
import { exists, writeJson } from '../../files.ts';
import { damageOf, recordsOf, takeInventory } from '../../inventory.ts';
import { lockDirectory } from '../../lock.ts';
import { readSealed, writeSealed } from '../../seal.ts';
import { corpusSpecSchema } from '../../text/spec.ts';
import { namedChunks } from '../split.ts';
import type { Json, Stage, StageMessage, StageSplit } from '../stage.ts';
import { codersOf } from './train.ts';
import { corpusIdentity, openWorld, type World } from './world.ts';

const settings = z.strictObject({
  model: z.string(),
  text: corpusSpecSchema,
  batch_contexts: z.int().positive(),
});

export const EVALUATION = 'evaluation.json';
const LATENTS = 'latents.safetensors';

/** What is known of one coder afterwards. */
export interface EvaluatedCoder {
  metrics: Metrics;
  tokens: { contexts: number; total: number; counted: number };
}

type Settings = z.output<typeof settings>;

/** Names of coders. */
const codersSchema = z.strictObject({ coders: z.array(z.string()).min(1) });
const codersOfPart = (part: unknown) => checked(codersSchema, part, { where: 'a part of evaluate' });

/** Coders of a sweep; each has a folder of its own, which locks. */
const split: StageSplit<Settings> = {
  async parts({ inputs, dir }, most) {
    const names = [...codersOf(inputs.train!.result).keys()];
    if (names.length < 2) return [];
    const finished = await Promise.all(names.map((name) => finishedEvaluation(join(dir, name))));
    const missing = names.filter((_, i) => !finished[i]);
    return namedChunks(missing, most).map(({ name, names: coders }) => ({ name, part: { coders } }));
  },
  owns: (part, name) => codersOfPart(part).coders.some((coder) => name.startsWith(`${coder}/`)),
  async run(message, part, context) {
    const names = codersOfPart(part).coders;
    return { coders: (await evaluateCoders(message, names, context)) as unknown as Json };
  },
};

export const evaluateStage: Stage<Settings> = {
  name: 'evaluate',
  version: 1,
  portable: true,
  needs: ['train'],
  settings,
  outputs: [EVALUATION],
  reads: ({ model, text }) => [model, text.dataset],
  async identity({ model, text, batch_contexts }) {
    return { text: await corpusIdentity(model, text), batch_contexts };
  },
  async run(message, context) {
    const { settings, inputs, dir } = message;
    const names = [...codersOf(inputs.train!.result).keys()];
    const results = await evaluateCoders(message, names, context);
    const single = names.length === 1 && names[0] === '' ? results[''] : undefined;
    if (single) return { path: EVALUATION, metrics: single.metrics as Json, tokens: { ...single.tokens } };
    await writeJson(join(dir, EVALUATION), {
      kind: 'unfold.sweep-evaluation/1',
      dataset: settings.text.dataset,
      coders: results,
    });
    return { path: EVALUATION, coders: results as unknown as Json };
  },
  split,
};

/** Evaluates coders by name, each into its folder; the single coder of a stage has no name and no folder. */
async function evaluateCoders(
  { settings: { model: path, text, batch_contexts }, inputs, dir }: StageMessage<Settings>,
  names: readonly string[],
  context: StageContext,
): Promise<Record<string, EvaluatedCoder>> {
  const runs = codersOf(inputs.train!.result);
  const results: Record<string, EvaluatedCoder> = {};
  let world: World | undefined;
  try {
    for (const name of names) {
      const run = join(inputs.train!.dir, runs.get(name) ?? internal(`no coder ${name}`));
      const own = join(dir, name);
      const finished = await finishedEvaluation(own);
      if (!finished && name !== '') context.note(`evaluate ${name}`);
      world ??= finished ? undefined : await openWorld(path, text, context);
      results[name] =
        finished ??
        (await lockedOne(run, own, { world: world!, batch_contexts, dataset: text.dataset, name }, context));
    }
    return results;
  } finally {
    world?.close();
  }
}

/** What was measured before the stage was stopped, or by another process. */
async function finishedEvaluation(dir: string): Promise<EvaluatedCoder | undefined> {
  const path = join(dir, EVALUATION);
  if (!(await exists(path)) || !(await exists(join(dir, LATENTS)))) return undefined;
  const json = await readSealed(path, 'run it again').catch(() => undefined);
  if (json === undefined || (await damageOf(dir, recordsOf(json))).length > 0) return undefined;
  const { metrics, tokens } = json as EvaluatedCoder;
  return { metrics, tokens };
}

/** Writes evaluation.json, which vouches for itself and for the file of the latents beside it. */
async function writeEvaluation(dir: string, json: object): Promise<void> {
  const files = await takeInventory(dir, (file) => file === LATENTS);
  await writeSealed(join(dir, EVALUATION), { ...json, files });
}

interface How {
  /** Of the coder; empty for the only one, whose folder is the stage's and is locked by whoever runs that. */
  name: string;
  world: World;
  batch_contexts: number;
  dataset: string;
}

async function lockedOne(run: string, dir: string, how: How, context: StageContext): Promise<EvaluatedCoder> {
  const lock = how.name === '' ? undefined : await lockDirectory(dir, context);
  try {
    return (
      (await finishedEvaluation(dir)) ??
      (await evaluateOne(run, dir, how, lock ? alsoStoppedBy(lock.signal, context) : context))
    );
  } finally {
    await lock?.release();
  }
}

/** Evaluates the coder of a run into `dir`. */
async function evaluateOne(
  run: string,
  dir: string,
  { world, batch_contexts, dataset }: How,
  context: StageContext,
): Promise<EvaluatedCoder> {
  const { model, tokenizer, corpus } = world;
  const coder = await loadCoder(run);
  try {
    const exclusions = exclusionsOf(coder, tokenizer.specialIds);
    const replacement = replacementOf([coder]);
    if (replacement) {
      const layers = await evaluateLayers({ replacement, model, tokens: corpus, exclusions }, context);
      await writeLayersLatents(join(dir, LATENTS), layers);
      await writeEvaluation(dir, layersJson(layers, { dataset }));
      return { metrics: layers.metrics, tokens: layers.tokens };
    }
    const evaluation = await evaluate({ coder, model, tokens: corpus, exclusions, batch_contexts }, context);
    await writePerLatent(join(dir, LATENTS), evaluation);
    await writeEvaluation(dir, evaluationJson(evaluation, { dataset }));
    const { metrics, tokens } = evaluation;
    return { metrics, tokens };
  } finally {
    coder.dispose();
  }
}
