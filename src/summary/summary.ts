/**
 * @file The report of a run as data: what was trained, its metrics, its most interesting latents, what to do next. It is
 * written as summary.json and rendered for people by render.ts.
 */
import type { Coder } from '../coders/coder.ts';
import { type StageContext, silent } from '../context.ts';
import type { Exclusions } from '../evaluate/counted.ts';
import type { MetricName, Metrics } from '../evaluate/definitions.ts';
import type { TokenRows } from '../evaluate/token-rows.ts';
import type { GPT2 } from '../model/gpt2.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { type Feature, interestingFeatures } from './features.ts';
import { CHOICE } from './interesting.ts';
import { scanLatents } from './scan.ts';

/** summary.json */
export interface Summary {
  kind: 'unfold.summary/1';
  title: string;
  /** What was trained, a paragraph. */
  what: string;
  metrics: Metrics;
  /** What a good coder of this size reaches, and who says so. */
  reference: Metrics;
  reference_note?: string;
  /** Dead and dense latents, a sentence. */
  latents: string;
  /** How the features were chosen. */
  choice: string;
  features: Feature[];
  next: NextStep[];
}

/** A command that can be pasted. */
export interface NextStep {
  command: string;
  meaning: string;
}

/** What a summary is made of. */
export interface SummaryOptions {
  title: string;
  what: string;
  coder: Coder;
  model: GPT2;
  tokenizer: Tokenizer;
  /** Text in which examples are looked for. */
  tokens: TokenRows;
  exclusions?: Exclusions;
  /** Metrics of the evaluation, and how many tokens it counted. */
  metrics: Metrics;
  counted: number;
  reference?: Partial<Record<MetricName, number>>;
  reference_note?: string;
  /** Latents shown, and examples of each. */
  features?: number;
  examples?: number;
  next?: NextStep[];
}

/** Looks through the text once and writes the report. */
export async function summarise(options: SummaryOptions, context: StageContext = silent()): Promise<Summary> {
  const { coder, model, tokens } = options;
  const scan = await scanLatents({ coder, model, tokens, exclusions: options.exclusions }, context);
  const features = interestingFeatures(scan, {
    coder,
    tokens,
    tokenizer: options.tokenizer,
    W_E: model.weights.W_E,
    unembedding: writesToResidualStream(coder)
      ? { W_U: model.weights.W_U, w: model.weights.ln_final?.w }
      : undefined,
    count: options.features ?? 10,
    examples: options.examples ?? 3,
  });
  return {
    kind: 'unfold.summary/1',
    title: options.title,
    what: options.what,
    metrics: options.metrics,
    reference: options.reference ?? {},
    ...(options.reference_note && { reference_note: options.reference_note }),
    latents: latentsSentence(options.metrics, coder.cfg.d_sae, options.counted),
    choice: CHOICE,
    features,
    next: options.next ?? [],
  };
}

/** Hooks whose rows are added to the residual stream, or are it: their directions have a meaning in logits. */
function writesToResidualStream(coder: Coder): boolean {
  const hook = String(coder.cfg.metadata.hook_name_out ?? coder.cfg.metadata.hook_name ?? '');
  return /hook_(resid_(pre|mid|post)|attn_out|mlp_out|embed|pos_embed)$/.test(hook);
}

/** "120 of 2,048 latents (5.9%) never fired on 65,000 tokens; …" */
function latentsSentence(metrics: Metrics, d_sae: number, counted: number): string {
  const { n_dead = 0, n_dense_over_1_percent = 0, n_dense_over_10_percent = 0 } = metrics;
  const count = (value: number) => value.toLocaleString('en-US');
  const share = `${((100 * n_dead) / d_sae).toFixed(1)}%`;
  return (
    `${count(n_dead)} of ${count(d_sae)} latents (${share}) never fired on the ${count(counted)} held-out tokens evaluated (dead); ` +
    `${count(n_dense_over_1_percent)} fire on more than 1% of tokens, ${count(n_dense_over_10_percent)} of them on more than 10% (dense).`
  );
}
