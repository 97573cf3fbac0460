/**
 * @file Continuing a prompt, one token at a time, with a key/value cache. Temperature, then the k most likely, then the
 * nucleus, in the order of transformers and TransformerLens. Beam search and batches are left out.
 */
import { UnfoldError } from '../errors.ts';
import { Random } from '../random.ts';
import type * as tf from '../tensor/tf.ts';
import type { Hook } from './hooks.ts';
import { KeyValueCache } from './kv-cache.ts';
import type { GPT2 } from './model.ts';

/** How to continue. */
export interface GenerateOptions {
  /** Default 20. */
  max_new_tokens?: number;
  /** 0 takes the most likely token; default 0, or 1 if top_k, top_p or seed is given. */
  temperature?: number;
  /** Samples from the k most likely tokens. */
  top_k?: number;
  /** Samples from the fewest most likely tokens whose probabilities reach this sum. */
  top_p?: number;
  /** Same seed, same text; default 0. */
  seed?: number;
  /** Ends after this token, which is returned too; default: never. */
  stop_at?: number;
  /** Default true. False computes the whole input again for every token. */
  use_kv_cache?: boolean;
  /** Hooks of every forward pass; with the cache a pass after the first sees the newest token only. */
  fwdHooks?: readonly Hook[];
  /** Called with each new token. */
  onToken?: (id: number) => void;
  /** Ids that are never chosen: rows of a padded embedding that no token stands for. */
  without?: readonly number[];
  signal?: AbortSignal;
}

/**
 * The new token ids after `prompt`.
 * @throws UnfoldError `bad-tokens` if prompt and continuation exceed n_ctx; `bad-setting`.
 */
export async function generate(
  model: GPT2,
  prompt: readonly number[],
  options: GenerateOptions = {},
): Promise<number[]> {
  const { max_new_tokens = 20, use_kv_cache = true, seed = 0 } = options;
  check(model, prompt, options, max_new_tokens);
  const sampling = [options.top_k, options.top_p, options.seed].some((setting) => setting !== undefined);
  const pick = picker(
    { ...options, temperature: options.temperature ?? (sampling ? 1 : 0) },
    Random.of(seed, 'generate'),
  );
  const past = use_kv_cache ? new KeyValueCache() : undefined;
  const ids = [...prompt];
  try {
    while (ids.length < prompt.length + max_new_tokens && !options.signal?.aborted) {
      await new Promise(setImmediate); // Lets the signal in.
      const logits = await nextLogits(model, ids, past, options.fwdHooks);
      for (const id of options.without ?? []) logits[id] = Number.NEGATIVE_INFINITY;
      const id = pick(logits);
      ids.push(id);
      options.onToken?.(id);
      if (id === options.stop_at) break;
    }
  } finally {
    past?.dispose();
  }
  return ids.slice(prompt.length);
}

async function nextLogits(
  model: GPT2,
  ids: number[],
  past: KeyValueCache | undefined,
  fwdHooks: readonly Hook[] = [],
): Promise<Float32Array> {
  const logits = model.forward(past ? ids.slice(past.length) : ids, {
    ...(past && { past }),
    lastOnly: true,
    fwdHooks,
  });
  try {
    return (await (logits as tf.Tensor).data()) as Float32Array;
  } finally {
    logits.dispose();
  }
}

/** Chooses an id from logits. */
function picker(options: GenerateOptions, random: Random): (logits: Float32Array) => number {
  const { temperature = 0, top_k, top_p } = options;
  if (temperature === 0) return mostLikely;
  return (logits) => sample(candidates(logits, temperature, top_k, top_p), random.float());
}

function mostLikely(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

interface Candidate {
  id: number;
  weight: number;
}

/** What may be drawn, most likely first (ties: smaller id), with weights that need not sum to 1. */
function candidates(logits: Float32Array, temperature: number, top_k?: number, top_p?: number): Candidate[] {
  const highest = logits[mostLikely(logits)]!;
  const all = Array.from(logits, (logit, id) => ({ id, weight: Math.exp((logit - highest) / temperature) }));
  const ranked = all
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => b.weight - a.weight || a.id - b.id)
    .slice(0, top_k);
  if (top_p === undefined) return ranked;
  const reach = top_p * ranked.reduce((sum, { weight }) => sum + weight, 0);
  let sum = 0;
  const end = ranked.findIndex(({ weight }) => {
    sum += weight;
    return sum >= reach;
  });
  return end < 0 ? ranked : ranked.slice(0, end + 1);
}

/** The candidate at fraction `at` of the total weight. */
function sample(from: Candidate[], at: number): number {
  let left = at * from.reduce((sum, { weight }) => sum + weight, 0);
  for (const { id, weight } of from) {
    left -= weight;
    if (left < 0) return id;
  }
  return from.at(-1)!.id;
}

function check(model: GPT2, prompt: readonly number[], options: GenerateOptions, count: number): void {
  const { temperature = 0, top_k = 1, top_p = 1 } = options;
  const wrong = (setting: string, expected: string, found: unknown): never => {
    const todo = 'correct the setting, or leave it out';
    throw new UnfoldError('bad-setting', { where: setting, expected, found: String(found), todo });
  };
  if (!Number.isInteger(count) || count < 1) wrong('max_new_tokens', 'a positive integer', count);
  if (!(temperature >= 0 && temperature < Number.POSITIVE_INFINITY))
    wrong('temperature', 'a number from 0', temperature);
  if (!Number.isInteger(top_k) || top_k < 1) wrong('top_k', 'a positive integer', top_k);
  if (!(top_p > 0 && top_p <= 1)) wrong('top_p', 'a number above 0, up to 1', top_p);
  if (prompt.length + count - 1 > model.cfg.n_ctx) {
    throw new UnfoldError('bad-tokens', {
      where: 'the prompt',
      expected: `prompt and new tokens within the context of ${model.cfg.n_ctx}`,
      found: `${prompt.length} tokens and ${count} new ones`,
      todo: 'shorten the prompt or lower max_new_tokens',
    });
  }
}
