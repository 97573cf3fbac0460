/**
 * @file One block: contexts through the model, activations at the hook points out, as rows. The harvest and the live
 * source both call this and nothing else, always with the whole block, which is why their rows are equal to the last
 * bit. Activations with a head axis become one row per token, heads end to end, as SAELens flattens `hook_z`.
 */
import { UnfoldError } from '../errors.ts';
import { hashOf } from '../files.ts';
import type { GPT2 } from '../model/gpt2.ts';
import { flagsFor, hookWidth } from '../model/hook-names.ts';
import type { ActivationBlock, HookWidth } from '../shards/block-source.ts';
import { contentHashOf, type RowIdentity } from '../shards/manifest.ts';
import type { ShardDtype } from '../shards/schema.ts';
import { emptyBatch } from '../shards/shuffle.ts';
import { inBfloat16 } from '../tensor/bfloat16.ts';
import type { Corpus } from '../text/contexts.ts';
import { type RowRule, rowsOf } from './rows.ts';

/** What is needed of a model: {@link GPT2} is one. */
export type HookedModel = Pick<GPT2, 'cfg' | 'flags' | 'weightsHash' | 'activations'>;

/** What decides the rows of a block, besides model and tokens. */
export interface ForwardOptions {
  hookNames: readonly string[];
  dtype: ShardDtype;
  /** What the model's products are computed in; float32 unless given. */
  compute?: 'float32' | 'bfloat16';
  batchContexts: number;
  rule: RowRule;
  /** Hash of the tokeniser, for the content hash. */
  tokenizerHash: string;
}

/** Computes blocks of rows. */
export class BlockForward {
  readonly hooks: readonly HookWidth[];
  readonly blockRows: readonly number[];
  /** What determines the rows, and its hash. */
  readonly identity: RowIdentity;
  readonly contentHash: string;
  readonly #model: HookedModel;
  readonly #corpus: Corpus;
  readonly #options: ForwardOptions;

  /** @throws UnfoldError `unknown-hook`, `bad-hook` (no row per token), `bad-setting` (context longer than the model) */
  constructor(model: HookedModel, corpus: Corpus, options: ForwardOptions) {
    const { hookNames, dtype, compute, batchContexts, rule, tokenizerHash } = options;
    checkContext(model, corpus);
    this.#model = model;
    this.#corpus = corpus;
    this.#options = options;
    refuseMixed(hookNames);
    const flags = { ...model.flags, ...flagsFor(hookNames) };
    this.hooks = hookNames.map((name) => ({ name, width: hookWidth(model.cfg, name, flags) }));
    this.blockRows = Array.from(
      { length: this.blocks },
      (_, index) => rowsOf(this.tokens(index), rule).length,
    );
    this.identity = {
      hashes: { model: modelHash(model), tokenizer: tokenizerHash, corpus: corpus.hash },
      hooks: [...this.hooks],
      dtype,
      context_size: corpus.contextSize,
      batch_contexts: batchContexts,
      exclude_token_ids: [...rule.excluded].sort((a, b) => a - b),
      positions: rule.positions,
      ...(compute === 'bfloat16' && { compute }),
    };
    this.contentHash = contentHashOf(this.identity);
  }

  /** Number of blocks; the last one may hold fewer contexts. */
  get blocks(): number {
    return Math.ceil(this.#corpus.contexts / this.#options.batchContexts);
  }

  /** First context of a block and how many it holds. */
  contextsOf(index: number): { first: number; count: number } {
    const first = index * this.#options.batchContexts;
    return { first, count: Math.min(this.#options.batchContexts, this.#corpus.contexts - first) };
  }

  /** Tokens of a block that go through the model. */
  tokenCount(index: number): number {
    return this.contextsOf(index).count * this.#corpus.contextSize;
  }

  /** Token ids of a block, [contexts * contextSize]. */
  tokens(index: number): Int32Array {
    const { first, count } = this.contextsOf(index);
    return this.#corpus.tokensFor(first, count);
  }

  /** The rows of one block, into `into` (see {@link blockBuffers}) or new arrays. */
  async compute(index: number, into?: ActivationBlock): Promise<ActivationBlock> {
    const tokens = this.tokens(index);
    const { first, count } = this.contextsOf(index);
    const { contextSize } = this.#options.rule;
    const rows = rowsOf(tokens, this.#options.rule);
    const block = trimmed(into ?? emptyBatch(this.hooks, rows.length), this.hooks, rows.length);
    const names = this.hooks.map(({ name }) => name);
    const forward = () => this.#model.activations({ ids: tokens, shape: [count, contextSize] }, names);
    const cache = this.#options.compute === 'bfloat16' ? inBfloat16(forward) : forward();
    try {
      for (const { name, width } of this.hooks) {
        copyRows((await cache.get(name)!.data()) as Float32Array, rows, width, block.activations.get(name)!);
      }
    } finally {
      cache.dispose();
    }
    for (let i = 0; i < rows.length; i++) {
      const at = rows[i]!;
      block.tokenId[i] = tokens[at]!;
      block.seqId[i] = first + Math.floor(at / contextSize);
      block.pos[i] = at % contextSize;
    }
    return block;
  }

  /** The same rows computed in float32. */
  inFloat32(): BlockForward {
    return new BlockForward(this.#model, this.#corpus, { ...this.#options, compute: 'float32' });
  }

  /** Where a row of a block comes from, in words. */
  placeOf(index: number, row: number): { context: number; position: number; token: number } {
    const tokens = this.tokens(index);
    const { contextSize } = this.#options.rule;
    const at = rowsOf(tokens, this.#options.rule)[row]!;
    const context = this.contextsOf(index).first + Math.floor(at / contextSize);
    return { context, position: at % contextSize, token: tokens[at]! };
  }
}

/** Views on the first `rows` rows of a larger block. */
function trimmed(block: ActivationBlock, hooks: readonly HookWidth[], rows: number): ActivationBlock {
  if (block.rows === rows) return block;
  const views = hooks.map(
    ({ name, width }) => [name, block.activations.get(name)!.subarray(0, rows * width)] as const,
  );
  return {
    rows,
    activations: new Map(views),
    tokenId: block.tokenId.subarray(0, rows),
    seqId: block.seqId.subarray(0, rows),
    pos: block.pos.subarray(0, rows),
  };
}

/** Copies chosen rows; runs of neighbours in one piece. */
function copyRows(values: Float32Array, rows: Int32Array, width: number, into: Float32Array): void {
  for (let i = 0; i < rows.length; ) {
    const first = rows[i]!;
    let run = 1;
    while (i + run < rows.length && rows[i + run] === first + run) run++;
    into.set(values.subarray(first * width, (first + run) * width), i * width);
    i += run;
  }
}

/** Weights, shape and settings that change activations. */
const modelHash = ({ weightsHash, cfg, flags }: HookedModel): string =>
  hashOf({ weights: weightsHash, cfg, flags });

function checkContext({ cfg }: HookedModel, { contextSize }: Corpus): void {
  if (contextSize <= cfg.n_ctx) return;
  throw new UnfoldError('bad-setting', {
    where: `context_size ${contextSize}`,
    expected: `at most ${cfg.n_ctx}, the model's n_ctx`,
    found: String(contextSize),
    todo: `use --context-size ${cfg.n_ctx} or less`,
  });
}

/** With inputs of each head's own the first layer norm works per head: its rows would be others than without them. */
function refuseMixed(hookNames: readonly string[]): void {
  const flags = flagsFor(hookNames);
  const norm = hookNames.find((name) => /\.ln1\.hook_(scale|normalized)$/.test(name));
  if (norm === undefined || !(flags.use_attn_in || flags.use_split_qkv_input)) return;
  const perHead = hookNames.find((name) => /hook_(attn_in|[qkv]_input)$/.test(name));
  throw new UnfoldError('bad-hook', {
    where: `hook points ${perHead} and ${norm}`,
    expected: 'one of them in a pass',
    found: `both: where ${perHead} fires, ${norm} has a row for each head`,
    todo: 'take them apart, each in a harvest of its own',
  });
}
