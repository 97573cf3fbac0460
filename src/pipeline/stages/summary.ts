/**
 * @file Stage `summary`: what was trained, how good it is, what it found; as data, as Markdown, for the terminal. Of a
 * sweep it is a table and a picture of all coders.
 */

import { join } from 'node:path';
import { z } from 'zod';
import { type Coder, loadCoder } from '../../coders/coder.ts';
import type { CoderConfig } from '../../coders/config.ts';
import type { Metrics } from '../../evaluate/definitions.ts';
import { exclusionsOf } from '../../evaluate/exclusions.ts';
import { readJson, writeFileAtomically, writeJson } from '../../files.ts';
import { paretoSvg } from '../../summary/pareto.ts';
import { renderMarkdown } from '../../summary/render.ts';
import { type SummaryOptions, summarise } from '../../summary/summary.ts';
import { renderSweepMarkdown, type SweepRow, type SweepSummary } from '../../summary/sweep.ts';
import { corpusSpecSchema } from '../../text/spec.ts';
import type { Json, Stage, StageMessage } from '../stage.ts';
import { EVALUATION, type EvaluatedCoder } from './evaluate.ts';
import { coderSteps, layersSteps, sweepSteps } from './next-steps.ts';
import { codersOf, RUN } from './train.ts';
import { corpusIdentity, openWorld } from './world.ts';

const settings = z.strictObject({
  title: z.string(),
  model: z.string(),
  /** Text the coder was trained on, for the report's words. */
  trained_on: z.string(),
  /** Text in which passages are looked for. */
  text: corpusSpecSchema,
  features: z.int().positive(),
  examples: z.int().positive(),
  reference: z.record(z.string(), z.number()),
  reference_note: z.string().optional(),
});
type Settings = z.output<typeof settings>;

export const SUMMARY = 'summary.json';

export const summaryStage: Stage<Settings> = {
  name: 'summary',
  version: 3,
  needs: ['train', 'evaluate'],
  settings,
  outputs: [SUMMARY, 'summary.md'],
  reads: ({ model, text }) => [model, text.dataset],
  async identity({ model, text, title, trained_on, ...rest }) {
    return { title, text: await corpusIdentity(model, text), ...rest } as Json;
  },
  async run(message, context) {
    const coders = codersOf(message.inputs.train!.result);
    if (!coders.has('')) return sweepReport(message, coders);
    const layers = (await readJson(join(message.inputs.evaluate!.dir, EVALUATION))) as LayersFile;
    if (layers.hooks) return layersReport(message, layers);
    const { model: path, text } = message.settings;
    const world = await openWorld(path, text, context);
    const coder = await loadCoder(join(message.inputs.train!.dir, RUN));
    try {
      const exclusions = exclusionsOf(coder, world.tokenizer.specialIds);
      const words = { ...wordsOf(message, coder), exclusions };
      const { model, tokenizer, corpus: tokens } = world;
      const summary = await summarise({ ...words, coder, model, tokenizer, tokens }, context);
      await writeFileAtomically(join(message.dir, 'summary.md'), renderMarkdown(summary));
      await writeJson(join(message.dir, SUMMARY), summary);
      return { path: SUMMARY, features: summary.features.map(({ latent }) => latent) };
    } finally {
      coder.dispose();
      world.close();
    }
  },
};

/** The report of a sweep: no text is read again. */
async function sweepReport(
  message: StageMessage<Settings>,
  coders: ReadonlyMap<string, string>,
): Promise<Record<string, Json | undefined>> {
  const { settings, inputs, dir } = message;
  const evaluated = inputs.evaluate!.result.coders as unknown as Record<string, EvaluatedCoder>;
  const rows: SweepRow[] = [];
  for (const [name, run] of coders) {
    const final = join(inputs.train!.dir, run, 'final');
    const { architecture, d_sae, metadata } = (await readJson(join(final, 'cfg.json'))) as CoderConfig;
    const trained = String(metadata.training_architecture ?? architecture);
    rows.push({
      name,
      architecture: trained,
      d_sae,
      hooks: hooksOf(metadata),
      metrics: evaluated[name]!.metrics,
    });
  }
  const tokens = Number(inputs.train!.result.tokens).toLocaleString('en-US');
  const { counted } = Object.values(evaluated)[0]!.tokens;
  const summary: SweepSummary = {
    kind: 'unfold.sweep-summary/1',
    title: settings.title,
    what:
      `${rows.length} coders trained together on ${tokens} tokens of ${nameOf(settings.trained_on)} (${nameOf(settings.model)}), ` +
      `measured on ${counted.toLocaleString('en-US')} held-out tokens.`,
    coders: rows,
    counted,
    next: sweepSteps(message, rows[0]!.name),
  };
  await writeFileAtomically(join(dir, 'pareto.svg'), await paretoSvg(rows));
  await writeFileAtomically(join(dir, 'summary.md'), renderSweepMarkdown(summary));
  await writeJson(join(dir, SUMMARY), summary);
  return { path: SUMMARY, coders: rows.map(({ name }) => name) };
}

/** What evaluation.json of a coder over several hooks holds. */
interface LayersFile extends EvaluatedCoder {
  hooks?: Record<string, Metrics>;
}

/** The report of a coder over several hooks: a row for each hook replaced alone, and one for all of them at once. */
async function layersReport(
  message: StageMessage<Settings>,
  { hooks = {}, metrics, tokens: { counted } }: LayersFile,
): Promise<Record<string, Json | undefined>> {
  const { settings, inputs, dir } = message;
  const final = join(inputs.train!.dir, RUN, 'final');
  const { architecture, d_sae, metadata } = (await readJson(join(final, 'cfg.json'))) as CoderConfig;
  const lines = [...Object.entries(hooks), ['all at once', metrics] as const];
  const facts = { architecture, d_sae, hooks: hooksOf(metadata) };
  const rows = lines.map(([name, of]): SweepRow => ({ name, ...facts, metrics: of }));
  const tokens = Number(inputs.train!.result.tokens).toLocaleString('en-US');
  const summary: SweepSummary = {
    kind: 'unfold.sweep-summary/1',
    title: settings.title,
    what:
      `A coder over several hooks (${architecture}, ${facts.hooks}) of ${nameOf(settings.model)}, trained on ${tokens} tokens of ` +
      `${nameOf(settings.trained_on)}. Each row is measured with that hook replaced alone, the last with all of them, on ` +
      `${counted.toLocaleString('en-US')} held-out tokens.`,
    coders: rows,
    counted,
    next: layersSteps(message),
  };
  await writeFileAtomically(join(dir, 'pareto.svg'), await paretoSvg(rows, { named: true }));
  await writeFileAtomically(join(dir, 'summary.md'), renderSweepMarkdown(summary));
  await writeJson(join(dir, SUMMARY), summary);
  return { path: SUMMARY };
}

/** "a → b"; hooks that differ in the block only as one: "blocks.0-3.hook_mlp_out". */
function hooksOf(metadata: CoderConfig['metadata']): string {
  const side = (one: unknown, several: unknown) => {
    if (!Array.isArray(several)) return typeof one === 'string' ? one : '';
    const names = several.map(String);
    const [first, last] = [names[0], names.at(-1)].map((name) => /^blocks\.(\d+)\.(.*)$/.exec(name ?? ''));
    const isAlike = names.every((name) => name.replace(/^blocks\.\d+\./, '') === first?.[2]);
    if (first && last && isAlike && names.length > 1) return `blocks.${first[1]}-${last[1]}.${first[2]}`;
    return names.join(', ');
  };
  const [from, to] = [
    side(metadata.hook_name, metadata.hook_names),
    side(metadata.hook_name_out, metadata.hook_names_out),
  ];
  return to === '' ? from : `${from} → ${to}`;
}

type Words = Omit<SummaryOptions, 'coder' | 'model' | 'tokenizer' | 'tokens'>;

function wordsOf(message: StageMessage<Settings>, coder: Coder): Words {
  const { settings, inputs } = message;
  const { title, features, examples, reference, reference_note } = settings;
  const { metrics, tokens } = inputs.evaluate!.result as {
    metrics: Words['metrics'];
    tokens: { counted: number };
  };
  return {
    title,
    what: paragraph(settings, coder, Number(inputs.train!.result.tokens)),
    metrics,
    counted: tokens.counted,
    features,
    examples,
    reference,
    ...(reference_note && { reference_note }),
    next: coderSteps(message, String(coder.cfg.metadata.hook_name)),
  };
}

/** "A TopK sparse autoencoder: 2,048 latents, at most 16 of them active on a token, …" */
function paragraph({ model, trained_on }: Settings, { cfg }: Coder, tokens: number): string {
  const count = (value: number) => value.toLocaleString('en-US');
  const k = 'k' in cfg ? `, at most ${String(cfg.k)} of them active on a token` : '';
  const kind =
    cfg.architecture === 'topk' ? 'TopK sparse autoencoder' : `sparse autoencoder (${cfg.architecture})`;
  return (
    `A ${kind} that rewrites the activations of ${nameOf(model)} at ${String(cfg.metadata.hook_name)} (${cfg.d_in} numbers a token) ` +
    `as a sum of ${count(cfg.d_sae)} learned directions${k}. It was trained on ${count(tokens)} tokens of ${nameOf(trained_on)}. ` +
    'Everything below is measured on held-out text, at the positions that it was trained on.'
  );
}

function nameOf(path: string): string {
  return path.split('/').filter(Boolean).at(-1) ?? path;
}
