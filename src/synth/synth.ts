/**
 * @file The synthetic benchmark: coders of several architectures and seeds on the rows of one synthetic model, all in one
 * pass, and how well each found the features. After SynthSAEBench (arXiv 2602.14687), which trains each by itself in
 * Python; here every coder sees the same rows in the same order.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { checked } from '../checked.ts';
import { type LoadOptions, loadCoder } from '../coders/coder.ts';
import { openCoder } from '../coders/formats/load.ts';
import type { StageContext } from '../context.ts';
import { hashOf } from '../files.ts';
import { writeSealed } from '../seal.ts';
import { trainSweep } from '../train/sweep.ts';
import { expandSweep, type SweepInput } from '../train/sweep-file.ts';
import { presets, type SyntheticModelConfig, syntheticModelSchema } from './config.ts';
import { definitions, evaluateOnFeatures, type SyntheticEvaluation } from './evaluate.ts';
import { SyntheticModel, syntheticSource } from './source.ts';

/** A benchmark file. */
export const synthSchema = z.strictObject({
  model: z
    .looseObject({ preset: z.enum(Object.keys(presets)).optional() })
    .describe('a preset, settings on top of it, or settings alone'),
  seeds: z.array(z.int().nonnegative()).min(1).default([42]).describe('each coder is trained once with each'),
  evaluation_samples: z.int().positive().default(100_000),
  train: z.record(z.string(), z.unknown()).describe('a sweep: shared settings and coders'),
});
export type SynthInput = z.input<typeof synthSchema>;

/** The numbers of one coder over the seeds. */
export interface SynthRow {
  coder: string;
  seeds: Record<string, SyntheticEvaluation>;
  mean: SyntheticEvaluation;
  /** Standard deviation over seeds (n - 1); 0 for one seed. */
  std: SyntheticEvaluation;
}

/** What a benchmark found. */
export interface SynthResult {
  dir: string;
  model: SyntheticModelConfig;
  definitions: typeof definitions;
  coders: SynthRow[];
}

/**
 * Trains and evaluates; `out/` holds a run directory for each coder and seed, and synth.json. Running it again goes on.
 * @throws UnfoldError `bad-setting`, and those of training
 */
export async function synth(
  options: { out: string; settings: SynthInput },
  context: StageContext,
): Promise<SynthResult> {
  const {
    model: raw,
    seeds,
    evaluation_samples,
    train,
  } = checked(synthSchema, options.settings, { where: 'settings', todo: TODO });
  const config = syntheticConfig(raw);
  const sweep = train as SweepInput;
  const model = await SyntheticModel.create(config, context);
  try {
    const rows = syntheticSource(model, Number(sweep.training_tokens ?? 2_000_000));
    const grid = { ...sweep.grid, seed: seeds };
    const given = { data_seed: config.seed, ...sweep, grid };
    const out = join(options.out, 'coders');
    const trained = await trainSweep({ out, rows, sweep: given }, context);
    const failure = Object.values(trained.failures)[0];
    if (failure) throw failure;
    const found = new Map<string, SyntheticEvaluation>();
    const bar = context.bar('evaluate', Object.keys(trained.coders).length, 'coders');
    for (const [name, { coderDir }] of Object.entries(trained.coders)) {
      const coder = await loadCoder(coderDir);
      found.set(name, await evaluateOnFeatures(coder, model, evaluation_samples, context));
      coder.dispose();
      bar.update(found.size, name);
    }
    bar.finish();
    const result = {
      dir: options.out,
      model: config,
      definitions,
      coders: bySeed(found, [...expandSweep(sweep).keys()], seeds),
    };
    await writeSealed(join(options.out, 'synth.json'), {
      format: 'unfold-synth-1',
      key: hashOf({ config, train }),
      ...result,
    });
    return result;
  } finally {
    model.dispose();
  }
}

/** A coder that exists, and the benchmark file whose model it is judged on; what the file says of training is not used. */
export interface SynthCoderOptions extends LoadOptions {
  coder: string;
  settings: Pick<SynthInput, 'model' | 'evaluation_samples'>;
}

/** A coder's numbers on a model. */
export interface SynthCoderResult {
  coder: string;
  model: SyntheticModelConfig;
  definitions: typeof definitions;
  evaluation: SyntheticEvaluation;
}

/**
 * Evaluates a coder of any layout on a synthetic model, without training.
 * @throws UnfoldError `bad-setting`, those of reading a coder, and `bad-rows` if its width is not that of the model
 */
export async function synthCoder(
  options: SynthCoderOptions,
  context: StageContext,
): Promise<SynthCoderResult> {
  const { coder: path, settings, ...choice } = options;
  const given = checked(synthSchema.partial({ train: true }), settings, { where: 'settings', todo: TODO });
  const config = syntheticConfig(given.model);
  const { coder } = await openCoder(path, choice, context);
  const model = await SyntheticModel.create(config, context);
  try {
    const evaluation = await evaluateOnFeatures(coder, model, given.evaluation_samples, context);
    return { coder: path, model: config, definitions, evaluation };
  } finally {
    model.dispose();
    coder.dispose();
  }
}

/** The settings of a model: a preset's, with what else is written on top. */
export function syntheticConfig({
  preset,
  ...own
}: { preset?: string } & Record<string, unknown>): SyntheticModelConfig {
  const base = preset === undefined ? {} : presets[preset];
  const schema = z.strictObject({ model: syntheticModelSchema });
  return checked(schema, { model: { ...base, ...own } }, { where: 'settings', todo: TODO }).model;
}

const TODO = `unfold synth --help shows a file; presets: ${Object.keys(presets).join(', ')}`;

/** The grid's last axis is the seed, so a coder's runs are named CODER-seedN. */
function bySeed(
  found: ReadonlyMap<string, SyntheticEvaluation>,
  coders: readonly string[],
  seeds: readonly number[],
): SynthRow[] {
  return coders.map((coder) => {
    const evaluations = seeds.map((seed) => found.get(`${coder}-seed${seed}`)!);
    return {
      coder,
      seeds: Object.fromEntries(seeds.map((seed, i) => [String(seed), evaluations[i]!])),
      mean: over(evaluations, mean),
      std: over(evaluations, deviation),
    };
  });
}

function over(all: SyntheticEvaluation[], statistic: (numbers: number[]) => number): SyntheticEvaluation {
  const names = Object.keys(definitions) as (keyof SyntheticEvaluation)[];
  const entries = names.map((name) => [name, statistic(all.map((one) => one[name]))]);
  return Object.fromEntries(entries) as unknown as SyntheticEvaluation;
}

const mean = (numbers: number[]): number => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;

function deviation(numbers: number[]): number {
  if (numbers.length < 2) return 0;
  const centre = mean(numbers);
  return Math.sqrt(numbers.reduce((sum, x) => sum + (x - centre) ** 2, 0) / (numbers.length - 1));
}
