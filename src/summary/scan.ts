/**
 * @file One pass over text that collects what the report needs of every latent: how often it fires, its strongest
 * contexts. The model runs up to the hook only; memory is bounded whatever the length of the text.
 */
import type { Coder } from '../coders/coder.ts';
import { breathe, type StageContext, silent } from '../context.ts';
import { hooksOf } from '../evaluate/coder-hooks.ts';
import { encodeRows } from '../evaluate/coder-pass.ts';
import { countedMask, type Exclusions } from '../evaluate/counted.ts';
import { pickRows } from '../evaluate/hook-rows.ts';
import { type LatentStatistics, SparsityAccumulator } from '../evaluate/sparsity.ts';
import { type TokenBatch, type TokenRows, tokenBatches } from '../evaluate/token-rows.ts';
import type { GPT2 } from '../model/gpt2.ts';
import { TopExamples } from './top-examples.ts';

/** What a scan needs. */
export interface ScanOptions {
  coder: Coder;
  model: Pick<GPT2, 'activations'>;
  tokens: TokenRows;
  hook_name?: string;
  exclusions?: Exclusions;
  /** Contexts in a forward pass. */
  batch_contexts?: number;
  /** Strongest contexts kept of every latent. */
  examples?: number;
}

/** What a scan finds. */
export interface Scan {
  examples: TopExamples;
  latents: LatentStatistics;
  /** Positions seen that count. */
  rows: number;
}

/** Contexts of a forward pass unless told. */
const BATCH_CONTEXTS = 32;
/** More than are shown, because some turn out to be the same text. */
const EXAMPLES = 8;

/** Walks `tokens` once. */
export async function scanLatents(options: ScanOptions, context: StageContext = silent()): Promise<Scan> {
  const { hookIn } = hooksOf(options);
  const { d_sae } = options.coder.cfg;
  const sparsity = new SparsityAccumulator(d_sae);
  const examples = new TopExamples(d_sae, options.examples ?? EXAMPLES);
  const bar = context.bar('examples', options.tokens.contexts, 'contexts');
  for (const batch of tokenBatches(options.tokens, options.batch_contexts ?? BATCH_CONTEXTS)) {
    await breathe(context);
    scanBatch(options, hookIn, batch, sparsity, examples);
    bar.update(batch.start + batch.rows.length);
  }
  bar.finish(`${sparsity.rows} tokens`);
  return { examples, latents: sparsity.latents(), rows: sparsity.rows };
}

function scanBatch(
  { coder, model, exclusions = {} }: ScanOptions,
  hook: string,
  batch: TokenBatch,
  sparsity: SparsityAccumulator,
  examples: TopExamples,
): void {
  const length = batch.rows[0]!.length;
  const mask = Uint8Array.from(batch.rows.flatMap((row) => [...countedMask(row, exclusions)]));
  const places = Array.from(mask.keys()).filter((at) => mask[at] === 1);
  const rows = pickRows(activationsAt(model, batch.rows, hook), coder.cfg.d_in, mask);
  const acts = encodeRows(coder, rows, places.length);
  const contextOf = places.map((at) => batch.start + Math.floor(at / length));
  sparsity.add(acts, contextOf);
  for (let row = 0; row < acts.rows; row++) {
    for (let at = acts.starts[row]!; at < acts.starts[row + 1]!; at++) {
      examples.offer(acts.indices[at]!, acts.values[at]!, contextOf[row]!, places[row]! % length);
    }
  }
}

/** A hook's rows, [batch · pos, width]; the model stops as soon as it can. */
function activationsAt(model: ScanOptions['model'], tokens: number[][], hook: string): Float32Array {
  const cache = model.activations(tokens, [hook]);
  const values = (cache.get(hook)!.dataSync() as Float32Array).slice();
  cache.dispose();
  return values;
}
