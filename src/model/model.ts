/**
 * @file A hooked GPT-2, after TransformerLens's `HookedTransformer`: forward pass, hooks, caching, loss, weight
 * processing. Loading reads a Hugging Face `GPT2LMHeadModel`. Left out: the tokeniser (give ids), generation
 * (generate.ts) and the analyses on a cache.
 */
import { UnfoldError } from '../errors.ts';
import { hashOf } from '../files.ts';
import * as tf from '../tensor/tf.ts';
import { ActivationCache } from './activation-cache.ts';
import type { GPT2Config } from './config.ts';
import { forwardFrom, forwardPass, type Pass } from './forward.ts';
import { defaultFlags, flagsFor, type HookFlags, hookLayer, hookNames } from './hook-names.ts';
import {
  type Hook,
  type HookFn,
  HookTable,
  matchingNames,
  type NameFilter,
  namesIn,
  resolveStop,
} from './hooks.ts';
import type { KeyValueCache } from './kv-cache.ts';
import { lossPerToken, meanLoss } from './loss.ts';
import { type ProcessOptions, processWeights } from './process-weights.ts';
import { tlWeights } from './tl-weights.ts';
import { type TokenBatch, type Tokens, tokenBatch } from './tokens.ts';
import { allTensors, type GPT2Weights } from './weights.ts';

/** What every run may be told. */
export interface RunOptions {
  /** Runs blocks 0 to n - 1 and returns the residual stream before block n; negative counts from the end. */
  stopAtLayer?: number;
  /** [batch][pos], 1 for real tokens and 0 for padding on either side. */
  attentionMask?: readonly (readonly number[])[];
  /** Hooks of this run, after the model's own. */
  fwdHooks?: readonly Hook[];
  /** Settings that differ from `model.flags` in this run. Those that a hook point needs are on where it is named. */
  flags?: Partial<HookFlags>;
}

/** What a run with a cache may be told. */
export interface CacheOptions extends RunOptions {
  /** What to collect; everything that fires unless given. */
  namesFilter?: NameFilter;
}

/** A run with a key/value cache: the tokens follow those already in it. */
export interface ForwardOptions extends RunOptions {
  past?: KeyValueCache;
  /** Logits at the last position only, [batch, 1, d_vocab]. */
  lastOnly?: boolean;
}

/** A GPT-2 in memory. Make one with `loadGPT2` or `randomGPT2` (gpt2.ts); {@link dispose} it. */
export class GPT2 {
  readonly cfg: GPT2Config;
  readonly weights: GPT2Weights;
  /** SHA-256 of the weight file (of the list of hashes for shards; of hash and settings for processed weights). */
  readonly weightsHash: string;
  /** Folder it came from, for messages. */
  readonly path: string;
  /**
   * Which optional hook points fire, as TransformerLens's cfg; in a run that names one it fires in any case. Change it freely
   * between runs.
   */
  flags: HookFlags = { ...defaultFlags };
  #persistent: { names: string[]; fn: HookFn }[] = [];

  constructor(cfg: GPT2Config, weights: GPT2Weights, origin: { weightsHash: string; path: string }) {
    this.cfg = cfg;
    this.weights = weights;
    this.weightsHash = origin.weightsHash;
    this.path = origin.path;
  }

  /**
   * Logits [batch, pos, d_vocab]; with `stopAtLayer` the residual stream [batch, pos, d_model].
   * @throws UnfoldError `bad-tokens`, `bad-layer`, `unknown-hook`, `bad-hook`.
   */
  forward(tokens: Tokens, options: ForwardOptions = {}): tf.Tensor3D {
    const { past, attentionMask, lastOnly } = options;
    const batch = tokenBatch(this.cfg, tokens, attentionMask, past?.length);
    const run = this.#run(options, undefined, lastOnly ? 'last-logits' : 'logits');
    const out = forwardPass(batch, past ? { ...run, past } : run) as tf.Tensor3D;
    past?.advance(batch.pos);
    return out;
  }

  /** {@link forward} under the name that TransformerLens gives it. */
  runWithHooks(tokens: Tokens, options: ForwardOptions): tf.Tensor3D {
    return this.forward(tokens, options);
  }

  /**
   * Runs and collects activations, with every hook's replacement in place. The tensors are the caller's.
   * @throws UnfoldError as {@link forward}; `unknown-hook` for a name that does not fire in this run.
   */
  runWithCache(tokens: Tokens, options: CacheOptions = {}): { logits: tf.Tensor3D; cache: ActivationCache } {
    const batch = tokenBatch(this.cfg, tokens, options.attentionMask);
    const run = this.#run(options, options.namesFilter ?? (() => true), 'logits');
    const { logits, collected } = collecting(run, batch);
    return { logits: logits as tf.Tensor3D, cache: new ActivationCache(Object.entries(collected)) };
  }

  /**
   * Only these activations, and no arithmetic beyond the last of them: what harvesting uses.
   * @throws UnfoldError as {@link runWithCache}.
   */
  activations(
    tokens: Tokens,
    names: readonly string[],
    options: Omit<RunOptions, 'stopAtLayer'> = {},
  ): ActivationCache {
    const batch = tokenBatch(this.cfg, tokens, options.attentionMask);
    const run = this.#run(options, names, 'logits');
    run.hooks.stopEarly();
    const { logits, collected } = collecting(run, batch);
    logits?.dispose();
    return new ActivationCache(Object.entries(collected));
  }

  /**
   * The second part of a run, TransformerLens's `start_at_layer`: blocks `layer` and later.
   * @param residual [batch, pos, d_model] before block `layer` (0 to n_layers), without padding
   * @returns the normalised final residual stream [batch, pos, d_model], which `logitsOf` makes logits of; differentiable in
   *   `residual` and in what hooks return
   * @throws UnfoldError `bad-layer`; `unknown-hook`, also for hooks that fire before block `layer`.
   */
  finalFrom(
    residual: tf.Tensor3D,
    layer: number,
    { fwdHooks, flags }: Pick<RunOptions, 'fwdHooks' | 'flags'> = {},
  ): tf.Tensor3D {
    const start = resolveStart(this.cfg, layer);
    for (const [filter] of fwdHooks ?? []) requireAfter(filter, start);
    return forwardFrom(residual, start, this.#run({ fwdHooks, flags }, undefined, 'final'));
  }

  /**
   * Next-token loss in nats: the mean over all predicted tokens, or per token [batch, pos - 1]. Padding does not count
   * (per token: 0).
   * @throws UnfoldError as {@link forward}; `bad-tokens` for inputs of a single token.
   */
  loss(tokens: Tokens, options: Omit<RunOptions, 'stopAtLayer'> & { perToken: true }): tf.Tensor2D;
  loss(tokens: Tokens, options?: Omit<RunOptions, 'stopAtLayer'> & { perToken?: false }): tf.Scalar;
  loss(
    tokens: Tokens,
    options: Omit<RunOptions, 'stopAtLayer'> & { perToken?: boolean } = {},
  ): tf.Tensor2D | tf.Scalar {
    const batch = tokenBatch(this.cfg, tokens, options.attentionMask);
    requirePairs(batch);
    return tf.tidy(() => {
      const run = this.#run(options, undefined, 'final');
      const fromLogits = run.hooks.wants('unembed.hook_out');
      const source = forwardPass(batch, fromLogits ? { ...run, output: 'logits' } : run) as tf.Tensor3D;
      const perToken = lossPerToken(source, batch, fromLogits ? undefined : this.weights);
      return options.perToken ? perToken : meanLoss(perToken, batch);
    });
  }

  /**
   * Adds a hook to every later run, until {@link resetHooks}.
   * @throws UnfoldError `unknown-hook`.
   */
  addHook(filter: NameFilter, fn: HookFn): void {
    const names = matchingNames(filter, { cfg: this.cfg, flags: this.flags, stop: undefined });
    this.#persistent.push({ names, fn });
  }

  /** Removes the hooks that {@link addHook} added. */
  resetHooks(): void {
    this.#persistent = [];
  }

  /** Names of the hook points that fire with the current flags, in firing order. */
  hookNames(): string[] {
    return hookNames(this.cfg, this.flags);
  }

  /** A new model with processed weights; this one stays as it is. */
  process(options: ProcessOptions): GPT2 {
    const weightsHash = hashOf({ weights: this.weightsHash, process: options });
    const model = new GPT2(
      { ...this.cfg, tie_word_embeddings: false },
      processWeights(this.weights, options),
      { weightsHash, path: this.path },
    );
    model.flags = { ...this.flags };
    return model;
  }

  /** New tensors under TransformerLens's names and in its shapes; the caller disposes them. */
  stateDict(): Record<string, tf.Tensor> {
    return tlWeights(this.cfg, this.weights);
  }

  /** Frees the weights. */
  dispose(): void {
    tf.dispose(allTensors(this.weights));
  }

  #run(options: RunOptions, collect: NameFilter | undefined, output: Pass['output']): Pass {
    const { cfg, weights } = this;
    const named = namesIn([collect, ...(options.fwdHooks ?? []).map(([filter]) => filter)]);
    const flags = { ...this.flags, ...options.flags, ...flagsFor(named) };
    const stop = resolveStop(cfg, options.stopAtLayer);
    const scope = { cfg, flags, stop };
    const hooks = new HookTable(scope, {
      persistent: this.#persistent,
      hooks: options.fwdHooks ?? [],
      collect,
    });
    return { cfg, weights, flags, hooks, stop, output };
  }
}

function resolveStart({ n_layers }: GPT2Config, layer: number): number {
  if (Number.isInteger(layer) && layer >= 0 && layer <= n_layers) return layer;
  throw new UnfoldError('bad-layer', {
    where: 'finalFrom',
    expected: `an integer from 0 to ${n_layers}`,
    found: String(layer),
    todo: `start at a block, or at ${n_layers}: the final layer norm`,
  });
}

/** Patterns and functions mean whatever fires; a name must fire. */
function requireAfter(filter: NameFilter, start: number): void {
  const early = namesIn([filter]).find(
    (name) => !/^(ln_final|unembed)\./.test(name) && (hookLayer(name) ?? -1) < start,
  );
  if (early === undefined) return;
  throw new UnfoldError('unknown-hook', {
    where: early,
    expected: `a hook point that fires from block ${start} on`,
    found: 'one that comes before',
    todo: 'start at its own block',
  });
}

/** Runs a pass and hands its result and collection to the caller's scope, or frees everything if it fails. */
function collecting(pass: Pass, batch: TokenBatch) {
  return tf.tidy(() => {
    try {
      const logits = forwardPass(batch, pass);
      return { logits, collected: pass.hooks.take() };
    } finally {
      pass.hooks.dispose();
    }
  });
}

function requirePairs({ pos }: TokenBatch): void {
  if (pos > 1) return;
  throw new UnfoldError('bad-tokens', {
    where: 'the model input',
    expected: 'at least two tokens, to predict the second from the first',
    found: 'one token',
    todo: 'give a longer input, or leave BOS in front of it',
  });
}
