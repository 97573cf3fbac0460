/**
 * @file How the text was packed that a coder was trained on, from the metadata of its cfg.json: SAELens's keys, in its own
 * files and in ours, and two of ours. Null is a value of some of them ("nothing between documents"), so what is absent is
 * told by the key. A value that cannot be meant is refused by name; what the caller says himself is not looked at.
 */
import { z } from 'zod';
import { checked } from '../checked.ts';
import { corpusSpecSchema, PACKING, type TextChanges } from './spec.ts';

type Metadata = Readonly<Record<string, unknown>>;

/** Keys for which null says nothing, in SAELens as here. */
const NULL_IS_UNKNOWN: ReadonlySet<string> = new Set([
  'context_size',
  'prepend_bos',
  'disable_concat_sequences',
  'special_tokens_in_text',
]);

/**
 * The packing that metadata records, without what `changes` say otherwise.
 * @throws UnfoldError `bad-coder` for a value that is none
 */
export function packingOfCoder(
  metadata: Metadata,
  changes: TextChanges = {},
  where = 'cfg.json',
): TextChanges {
  const packing: Record<string, unknown> = {};
  for (const key of PACKING) {
    const value = metadata[key];
    const unknown = value === undefined || (value === null && NULL_IS_UNKNOWN.has(key));
    if (unknown || changes[key] !== undefined) continue;
    const flag = `--${key.replaceAll('_', '-')}`;
    packing[key] = checked(corpusSpecSchema.shape[key], value, {
      where: `${where}: metadata.${key}`,
      kind: 'bad-coder',
      todo: `correct it, or say how the text is to be packed: ${flag}`,
    });
  }
  return packing;
}

const positions = z.array(z.int().nullable()).max(3).nullish();
const excluded = z.union([z.boolean(), z.array(z.int().nonnegative())]).nullish();

/**
 * The positions that a coder was trained on (`seqpos_slice`, `exclude_special_tokens`).
 * @throws UnfoldError `bad-coder` for a value that is none
 */
export function rowRuleOfCoder(
  { seqpos_slice, exclude_special_tokens }: Metadata,
  where = 'cfg.json',
): { seqpos_slice: (number | null)[] | undefined; exclude_special_tokens: boolean | number[] } {
  const todo = 'correct it, or count every position with --all-tokens';
  const read = <S extends z.ZodType>(schema: S, value: unknown, key: string) =>
    checked(schema, value, { where: `${where}: metadata.${key}`, kind: 'bad-coder', todo });
  const slice = read(positions, seqpos_slice, 'seqpos_slice');
  return {
    seqpos_slice: slice?.length ? slice : undefined,
    exclude_special_tokens: read(excluded, exclude_special_tokens, 'exclude_special_tokens') ?? false,
  };
}
