/**
 * @file Which of stored rows count: what `evaluate` leaves out of a text, it leaves out of shards, by the token and the
 * position that stand beside each row. Special tokens are known from the tokeniser of the model that made the rows.
 */
import type { Coder } from '../coders/coder.ts';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { loadTokenizer } from '../model/tokenizer.ts';
import { resolvePath, searchPlaces } from '../pipeline/paths.ts';
import type { ActivationBlock, BlockSource } from '../shards/block-source.ts';
import { isShardSource } from '../shards/reader.ts';
import { type Exclusions, slicePositions } from './counted.ts';
import { exclusionsOf } from './exclusions.ts';
import { pickRows } from './hook-rows.ts';

/** Which rows are looked at, and which of them count. */
export interface RowChoice {
  exclusions?: Exclusions;
  /** Tokens in a context, where positions are counted from its end. */
  context_size?: number;
  /** Only the first rows of the source. */
  max_rows?: number;
}

/** A block of rows that count. */
export interface CountedBlock {
  block: ActivationBlock;
  index: number;
  /** Rows that were looked at so far, those that do not count included. */
  total: number;
}

/** The blocks of a source without the rows that do not count; blocks that have none left are not handed on. */
export async function* countedBlocks(
  source: BlockSource,
  { exclusions = {}, context_size, max_rows = Number.POSITIVE_INFINITY }: RowChoice,
): AsyncGenerator<CountedBlock> {
  const isPosition = positionRule(exclusions, context_size);
  let total = 0;
  for (let index = 0; index < source.blockRows.length && total < max_rows; index++) {
    const block = await source.readBlock(index);
    const looked = Math.min(block.rows, max_rows - total);
    total += looked;
    const mask = Uint8Array.from({ length: block.rows }, (_, row) =>
      Number(row < looked && isPosition(block.pos[row]!) && !exclusions.tokens?.has(block.tokenId[row]!)),
    );
    const counted = keepRows(block, mask, source);
    if (counted.rows > 0) yield { block: counted, index, total };
  }
}

function keepRows(block: ActivationBlock, mask: Uint8Array, { hooks }: BlockSource): ActivationBlock {
  const kept = [...mask.keys()].filter((row) => mask[row] === 1);
  if (kept.length === block.rows) return block;
  const widths = new Map(hooks.map(({ name, width }) => [name, width]));
  return {
    rows: kept.length,
    activations: new Map(
      [...block.activations].map(([name, values]) => [name, pickRows(values, widths.get(name)!, mask)]),
    ),
    tokenId: Int32Array.from(kept, (row) => block.tokenId[row]!),
    seqId: Uint32Array.from(kept, (row) => block.seqId[row]!),
    pos: Uint16Array.from(kept, (row) => block.pos[row]!),
  };
}

/** Positions of a seqpos_slice. @throws UnfoldError `bad-setting` where it counts from an end that is not known */
function positionRule({ seqpos_slice }: Exclusions, context_size?: number): (position: number) => boolean {
  if (seqpos_slice === undefined || seqpos_slice.every((bound) => bound === null)) return () => true;
  if (context_size === undefined && seqpos_slice.some((bound) => bound !== null && bound < 0)) {
    throw new UnfoldError('bad-setting', {
      where: `the coder’s seqpos_slice ${JSON.stringify(seqpos_slice)} on stored rows`,
      expected: 'a context size, from whose end it counts, in the shards’ manifest or the coder’s cfg.json',
      found: 'none',
      todo: 'evaluate on --model and --dataset, or count every position with --all-tokens',
    });
  }
  const positions = new Set(slicePositions(context_size ?? 2 ** 16, seqpos_slice));
  return (position) => positions.has(position);
}

/** What is said about exclusions on the command line. */
export interface ExclusionFlags {
  all_tokens?: boolean;
  exclude_tokens?: readonly number[];
  max_tokens?: number;
}

/**
 * The rows of `source` that a coder was trained on, unless `flags` say otherwise.
 * @throws UnfoldError `unknown-tokens` where they depend on special tokens or positions that are not known
 */
export async function rowChoice(
  coder: Pick<Coder, 'cfg'>,
  source: BlockSource,
  { all_tokens, exclude_tokens, max_tokens }: ExclusionFlags,
  context: StageContext,
): Promise<RowChoice & { exclusions: Exclusions }> {
  const context_size = contextSizeOf(coder, source);
  const shared = {
    ...(max_tokens !== undefined && { max_rows: max_tokens }),
    ...(context_size && { context_size }),
  };
  if (all_tokens) return { ...shared, exclusions: {} };
  if (source.hasTokens === false) refuseTokenRules(coder, exclude_tokens);
  const exclusions = exclude_tokens
    ? { tokens: new Set(exclude_tokens) }
    : exclusionsOf(coder, await specialIds(coder, source, context));
  return { ...shared, exclusions };
}

/** Rows without tokens cannot be left out by them. @throws UnfoldError `unknown-tokens` */
function refuseTokenRules(coder: Pick<Coder, 'cfg'>, exclude_tokens?: readonly number[]): void {
  // Some token stands for all that are special: is any left out?
  const left_out = exclude_tokens?.length ?? exclusionsOf(coder, new Set([0])).tokens?.size ?? 0;
  if (left_out === 0) return;
  throw new UnfoldError('unknown-tokens', {
    where: exclude_tokens
      ? '--exclude-tokens on stored rows'
      : 'the coder’s exclude_special_tokens on stored rows',
    expected: 'a column token_ids or token_id, which says what rows to leave out',
    found: 'rows that were saved without their tokens',
    todo: 'save them with token_ids, or count every row with --all-tokens',
  });
}

function contextSizeOf({ cfg: { metadata } }: Pick<Coder, 'cfg'>, source: BlockSource): number | undefined {
  const text = isShardSource(source)
    ? (source.manifest.settings.text as { context_size?: unknown })
    : undefined;
  const size = text?.context_size ?? metadata.context_size;
  return typeof size === 'number' ? size : undefined;
}

/** The special tokens, if the coder leaves them out and the rows may hold them. */
async function specialIds(
  { cfg: { metadata } }: Pick<Coder, 'cfg'>,
  source: BlockSource,
  context: StageContext,
): Promise<ReadonlySet<number>> {
  if (metadata.exclude_special_tokens !== true) return new Set();
  const own = isShardSource(source) ? source.manifest : undefined;
  if (own?.settings.exclude_special_tokens === true) return new Set();
  const model = own?.settings.model ?? metadata.model_name;
  if (typeof model !== 'string') throw unknownTokens('no model, neither in a manifest nor in the cfg.json');
  const tokenizer = await loadTokenizer(resolvePath(model, searchPlaces()), context).catch(
    (error: unknown) => {
      if (error instanceof UnfoldError)
        throw unknownTokens(`none at ${model} (${error.lesson.found})`, error);
      throw error;
    },
  );
  if (own && own.hashes.tokenizer !== tokenizer.hash)
    throw unknownTokens(`another one at ${model} than the rows were made with`);
  return tokenizer.specialIds;
}

function unknownTokens(found: string, cause?: unknown): UnfoldError {
  return new UnfoldError('unknown-tokens', {
    where: 'the coder’s exclude_special_tokens on stored rows',
    expected: 'the tokeniser of the model that made them, which says what tokens are special',
    found,
    todo: 'name them with --exclude-tokens IDS (unfold tokenise shows ids), or count every row with --all-tokens',
    cause,
  });
}
