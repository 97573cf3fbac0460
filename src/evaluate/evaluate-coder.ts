/**
 * @file `unfold evaluate` as a function: opens what is named, evaluates, writes what is asked for.
 */
import type { Coder, LoadOptions } from '../coders/coder.ts';
import { openCoder } from '../coders/formats/load.ts';
import { type StageContext, silent } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { writeJson } from '../files.ts';
import type { GPT2 } from '../model/gpt2.ts';
import { assertFits, loadTokenizer, type Tokenizer } from '../model/tokenizer.ts';
import { openShards } from '../shards/reader.ts';
import { packingOfCoder } from '../text/coder-packing.ts';
import { openCorpus } from '../text/contexts.ts';
import type { TextChanges } from '../text/spec.ts';
import { loadModelOf } from './coder-model.ts';
import type { Exclusions } from './counted.ts';
import { type Evaluation, evaluate } from './evaluate.ts';
import { evaluateRows } from './evaluate-rows.ts';
import { describeExclusions, exclusionsOf } from './exclusions.ts';
import { evaluationJson, writePerLatent, writePerToken } from './report.ts';
import { rowChoice } from './stored-rows.ts';
import { readTokenRows, type TokenRows } from './token-rows.ts';

/** What to evaluate on what. `shards`, or `model` with `dataset` or `tokens`. */
export interface EvaluateCoderOptions extends LoadOptions {
  /** Folder of the coder. */
  coder: string;
  /** Folder or hub id of the model. */
  model?: string;
  /** Text, as a corpus names it. */
  dataset?: string;
  /** JSON file of token ids. */
  tokens?: string;
  /** Folder of activation shards. */
  shards?: string;
  /** Where the dataset's text stands and how it is packed, where that is not as the coder's cfg.json says. */
  text?: TextChanges;
  /** Of the dataset; 65,536 unless given. Of shards, the first rows; all unless given. */
  max_tokens?: number;
  /** Of the dataset; the coder's own, or 128. */
  context_size?: number;
  batch_contexts?: number;
  hook_name?: string;
  hook_name_out?: string;
  /** Count every position. */
  all_tokens?: boolean;
  /** Leave out positions with these input tokens, instead of what the coder's metadata says. */
  exclude_tokens?: number[];
  /** Files to write: per-token and per-latent numbers (safetensors), evaluation.json. */
  per_token?: string;
  per_latent?: string;
  out?: string;
}

/** An evaluation and what it was made on. */
export interface CoderEvaluation {
  evaluation: Evaluation;
  facts: Record<string, string | undefined>;
}

const MAX_TOKENS = 65_536;

/**
 * Evaluates a coder from disk.
 * @throws UnfoldError `bad-setting` when inputs are missing or contradict each other, and those of what is opened
 */
export async function evaluateCoder(
  options: EvaluateCoderOptions,
  context: StageContext = silent(),
): Promise<CoderEvaluation> {
  checkInputs(options);
  const { coder } = await openCoder(options.coder, options, context);
  try {
    return await evaluateLoaded(coder, options, context);
  } finally {
    coder.dispose();
  }
}

/** Evaluates a coder that is open. */
export async function evaluateLoaded(
  coder: Coder,
  options: EvaluateCoderOptions,
  context: StageContext,
): Promise<CoderEvaluation> {
  const result = options.shards
    ? await onShards(coder, options, context)
    : await inModel(coder, options, context);
  if (options.per_token) await writePerToken(options.per_token, result.evaluation);
  if (options.per_latent) await writePerLatent(options.per_latent, result.evaluation);
  if (options.out) await writeJson(options.out, evaluationJson(result.evaluation, result.facts));
  return result;
}

async function onShards(
  coder: Coder,
  options: EvaluateCoderOptions,
  context: StageContext,
): Promise<CoderEvaluation> {
  const source = await openShards(options.shards!, context);
  try {
    const choice = await rowChoice(coder, source, options, context);
    const exclusions = describeExclusions(choice.exclusions);
    context.note(exclusions);
    const evaluation = await evaluateRows({ ...hooks(options), ...choice, coder, source }, context);
    return { evaluation, facts: { coder: options.coder, shards: options.shards, exclusions } };
  } finally {
    await source.close();
  }
}

async function inModel(
  coder: Coder,
  options: EvaluateCoderOptions,
  context: StageContext,
): Promise<CoderEvaluation> {
  return withModel(coder, options, context, async ({ facts, ...world }) => {
    const given = {
      ...hooks(options),
      batch_contexts: options.batch_contexts,
      per_token: options.per_token !== undefined,
    };
    return { evaluation: await evaluate({ ...given, ...world, coder }, context), facts };
  });
}

/** What a coder is evaluated in. */
export interface EvaluationWorld {
  model: GPT2;
  tokens: TokenRows;
  exclusions: Exclusions;
  facts: CoderEvaluation['facts'];
}

/** Opens the model and the text of the options, packed and counted as the coder was trained, for as long as `use` runs. */
export async function withModel<T>(
  coder: Coder,
  options: EvaluateCoderOptions,
  context: StageContext,
  use: (world: EvaluationWorld) => Promise<T>,
): Promise<T> {
  const origin = { dir: options.model!, where: `${options.coder}: cfg.json` };
  const model = await loadModelOf(coder.cfg.metadata, origin, context);
  try {
    const { tokens, tokenizer, close } = await openTokens(coder, options, model.cfg.d_vocab, context);
    try {
      const exclusions = exclusionsFor(coder, options, tokenizer);
      const described = describeExclusions(exclusions);
      context.note(described);
      const { coder: dir, model: name, dataset, tokens: file } = options;
      const changes = changesOf(options);
      const packing = changes && JSON.stringify(changes);
      const facts = { coder: dir, model: name, dataset, tokens_file: file, exclusions: described, packing };
      return await use({ model, tokens, exclusions, facts });
    } finally {
      close();
    }
  } finally {
    model.dispose();
  }
}

function hooks({ hook_name, hook_name_out }: EvaluateCoderOptions) {
  return { ...(hook_name && { hook_name }), ...(hook_name_out && { hook_name_out }) };
}

interface OpenTokens {
  tokens: TokenRows;
  tokenizer?: Tokenizer;
  close(): void;
}

async function openTokens(
  { cfg }: Coder,
  options: EvaluateCoderOptions,
  d_vocab: number,
  context: StageContext,
): Promise<OpenTokens> {
  const tokenizer = await loadTokenizer(options.model!, context).catch((error: unknown) => {
    // Token ids need no tokeniser, unless special tokens have to be known.
    if (options.tokens && cfg.metadata.exclude_special_tokens !== true) return undefined;
    throw error;
  });
  if (options.tokens) return { tokens: await readTokenRows(options.tokens, d_vocab), tokenizer, close() {} };
  assertFits(tokenizer!, d_vocab, context);
  const { max_tokens = MAX_TOKENS } = options;
  const changes = changesOf(options) ?? {};
  const packing = packingOfCoder(cfg.metadata, changes, `${options.coder}: cfg.json`);
  const spec = { max_tokens, ...packing, ...changes, dataset: options.dataset! };
  const corpus = await openCorpus(spec, tokenizer!, {}, context);
  return { tokens: corpus, tokenizer, close: () => corpus.close() };
}

/** What is asked for in place of the coder's own packing; undefined if nothing is. */
function changesOf({ text, context_size }: EvaluateCoderOptions): TextChanges | undefined {
  if (context_size === undefined) return text;
  return { ...text, context_size };
}

function exclusionsFor(
  coder: Coder,
  options: EvaluateCoderOptions,
  tokenizer: Tokenizer | undefined,
): Exclusions {
  if (options.all_tokens) return {};
  if (options.exclude_tokens) return { tokens: new Set(options.exclude_tokens) };
  return exclusionsOf(coder, tokenizer?.specialIds ?? new Set());
}

/** @throws UnfoldError `bad-setting` when inputs are missing or contradict each other */
export function checkInputs({
  model,
  dataset,
  tokens,
  shards,
  all_tokens,
  exclude_tokens,
  per_token,
  text: changes,
}: EvaluateCoderOptions): void {
  const text = Number(dataset !== undefined) + Number(tokens !== undefined);
  const refuse = (found: string, todo: string) => {
    throw new UnfoldError('bad-setting', {
      where: 'unfold evaluate',
      expected: '--model with --dataset or --tokens, or --shards alone',
      found,
      todo,
    });
  };
  if (shards !== undefined && (model !== undefined || text > 0)) {
    refuse('--shards together with a model or text', 'evaluate on one of them');
  }
  if (shards !== undefined && per_token !== undefined)
    refuse('--per-token with --shards', 'losses need a model: give --model and --dataset');
  if (shards === undefined && model === undefined)
    refuse('neither --model nor --shards', 'add --model checkpoints/novels-4l, or --shards DIR');
  if (shards === undefined && text !== 1)
    refuse(text === 0 ? 'no text' : 'both --dataset and --tokens', 'give one of --dataset and --tokens');
  if (dataset === undefined && changes !== undefined)
    refuse(
      `${Object.keys(changes).join(', ')} without --dataset`,
      'how text is packed is a matter of --dataset',
    );
  if (all_tokens && exclude_tokens) refuse('both --all-tokens and --exclude-tokens', 'leave one of them out');
}
