/**
 * @file What a pipeline file may say. Sections are the stages' own schemas, so a setting has one name, one default and one
 * description wherever it is written: in a pipeline, as a flag, in a manifest.
 *
 * Paths (`model`, `text.dataset`, `evaluate.text.dataset`): see paths.ts.
 */
import { z } from 'zod';
import { architectures, trainableNamed } from '../coders/registry.ts';
import { UnfoldError } from '../errors.ts';
import { metricNames } from '../evaluate/definitions.ts';
import { harvestSchema } from '../harvest/settings.ts';
import { corpusSpecSchema, PACKING, type ResolvedCorpusSpec } from '../text/spec.ts';
import { trainSettings } from '../train/settings.ts';
import { expandSweep, isSweep, type SweepInput } from '../train/sweep-file.ts';
import { plainValue } from '../yaml.ts';
import { refuseIdle } from './idle.ts';
import { resolvePath, searchPlaces } from './paths.ts';
import { validateYaml, type YamlSource } from './yaml.ts';

const harvestSection = harvestSchema.omit({ model: true, text: true }).extend({
  source: z
    .enum(['shards', 'live'])
    .default('shards')
    .describe(
      'shards: activations are written to disk and read from there; live: the model runs beside the training',
    ),
});

const evaluateSection = z.strictObject({
  text: corpusSpecSchema.describe('held-out text; how it is packed is taken from the main text unless said'),
  batch_contexts: z
    .int()
    .positive()
    .default(32)
    .describe('contexts of an evaluation batch (matters to …_legacy metrics)'),
});

const summarySection = z.strictObject({
  features: z.int().positive().default(10).describe('latents shown'),
  examples: z.int().min(1).max(8).default(3).describe('passages shown of each'),
  text: corpusSpecSchema
    .optional()
    .describe('text in which passages are looked for (default: that of the evaluation)'),
  reference: z
    .partialRecord(z.enum(metricNames), z.number())
    .default({})
    .describe('what a good coder of this size reaches'),
  reference_note: z.string().optional().describe('who says so'),
});

/** What `train:` may hold: the settings of one architecture beside the shared ones. */
function trainSection(architecture: unknown) {
  const named = architectures.find(({ name }) => name === architecture) ?? architectures[0]!;
  const trainable = architectures.filter(({ training }) => training).map(({ name }) => name);
  return z.strictObject({
    ...trainSettings.shape,
    ...named.training?.settings.shape,
    architecture: z.enum(trainable).default('topk'),
  });
}

/** … or a sweep: the same beside `coders` and `grid`, which are looked at when the names are known. */
const sweepSection = z.looseObject({
  coders: z.record(z.string(), z.record(z.string(), z.unknown()).nullable()).optional(),
  grid: z.record(z.string(), z.array(z.unknown()).min(1)).optional(),
});

/** The schema of a file whose `train:` is this. */
function schemaFor(train: Record<string, unknown>) {
  const section: z.ZodType<Record<string, unknown>> = isSweep(train)
    ? sweepSection
    : trainSection(train.architecture ?? 'topk').prefault({});
  return z.strictObject({
    name: z
      .string()
      .regex(/^[\w.-]+$/, 'a name of letters, digits, dots and dashes')
      .describe('names the run directory, runs/NAME'),
    title: z.string().optional().describe('heading of the report'),
    model: z.string().min(1).describe('a Hugging Face GPT-2 folder or hub id'),
    text: corpusSpecSchema.describe('which tokens the model sees'),
    harvest: harvestSection,
    train: section,
    evaluate: evaluateSection,
    summary: summarySection.prefault({}),
  });
}

/** A pipeline with every default filled in and every path resolved. */
export type Pipeline = z.output<ReturnType<typeof schemaFor>>;

/** How held-out text is packed is taken from the main text, unless the file says otherwise; and where its text stands. */
const INHERITED = [
  ...PACKING,
  'text_column',
  'tokens_column',
  'document_separator',
] as const satisfies readonly (keyof ResolvedCorpusSpec)[];

/**
 * Validates a pipeline file.
 * @throws UnfoldError `bad-pipeline` that names file, line, column, setting, what was expected and found
 */
export function parsePipeline(source: YamlSource): Pipeline {
  const raw = mappings(plainValue(source));
  const pipeline = validateYaml(source, schemaFor(raw.train ?? {}));
  refuseIdle(source);
  if (isSweep(pipeline.train)) checkSweep(pipeline.train, source.path);
  const places = searchPlaces(source.path);
  const text = { ...pipeline.text, dataset: resolvePath(pipeline.text.dataset, places) };
  const other = (parsed: ResolvedCorpusSpec, written: unknown): ResolvedCorpusSpec => {
    const inherited = INHERITED.filter((key) => (written as Record<string, unknown>)[key] === undefined);
    const packing = Object.fromEntries(inherited.map((key) => [key, pipeline.text[key]]));
    return { ...parsed, ...packing, dataset: resolvePath(parsed.dataset, places) };
  };
  const { evaluate, summary } = pipeline;
  return {
    ...pipeline,
    model: resolvePath(pipeline.model, places),
    text,
    evaluate: { ...evaluate, text: other(evaluate.text, raw.evaluate?.text) },
    summary: summary.text ? { ...summary, text: other(summary.text, raw.summary?.text) } : summary,
  };
}

/** The sections that are mappings: what others are, the schema says. */
function mappings(file: unknown): Record<string, Record<string, unknown> | undefined> {
  const isMapping = (value: unknown) => value !== null && typeof value === 'object' && !Array.isArray(value);
  const entries = Object.entries(isMapping(file) ? (file as object) : {});
  return Object.fromEntries(entries.filter(([, value]) => isMapping(value)));
}

/** The settings of every coder of a sweep, before anything is harvested. @throws UnfoldError `bad-pipeline`, `bad-sweep` */
function checkSweep(sweep: SweepInput, path: string): void {
  for (const [name, settings] of expandSweep(sweep, `${path}: train`)) {
    const where = `${path}: train, coder ${name}`;
    trainableNamed(String(settings.architecture ?? 'topk'), `${where}: architecture`);
    const parsed = trainSection(settings.architecture ?? 'topk').safeParse(settings);
    if (parsed.success) continue;
    throw new UnfoldError('bad-pipeline', {
      where,
      expected: `settings of ${String(settings.architecture ?? 'topk')} training`,
      found: z.prettifyError(parsed.error).replaceAll('\n', ' '),
      todo: 'mend the setting there or where it is shared',
    });
  }
}
