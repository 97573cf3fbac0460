/**
 * @file What a shard looks like from outside: the Arrow schema of its rows and the two JSON files that make its folder
 * a Hugging Face `datasets` directory. One column per hook, named by the hook, dots and all
 * (FixedSizeList<float16 | float32>[width]); then `token_id`, `seq_id`, `pos`. `datasets.load_from_disk` reads the
 * features from the schema's metadata key `huggingface`; the list type is spelled "Sequence", which every version of
 * `datasets` understands ("List" is new in version 4).
 */
import { Field, FixedSizeList, Float16, Float32, Int32, Schema, Uint16, Uint32 } from 'apache-arrow';
import type { HookWidth } from './block-source.ts';

/** How activations are stored: float32 as the model computed them, or rounded to float16 (half the disk). */
export type ShardDtype = 'float16' | 'float32';

/** Bytes of one stored number. */
export const dtypeBytes = (dtype: ShardDtype): number => (dtype === 'float16' ? 2 : 4);

/** Bytes of one row in a shard: the activations and 10 bytes of token_id, seq_id and pos. */
export function rowBytes(hooks: readonly HookWidth[], dtype: ShardDtype): number {
  return hooks.reduce((sum, hook) => sum + hook.width * dtypeBytes(dtype), 10);
}

/** The Arrow schema of a shard. */
export function shardSchema(hooks: readonly HookWidth[], dtype: ShardDtype): Schema {
  const number = dtype === 'float16' ? new Float16() : new Float32();
  const fields = hooks.map(
    ({ name, width }) => new Field(name, new FixedSizeList(width, new Field('item', number, true)), true),
  );
  const ids = [new Field('token_id', new Int32(), true), new Field('seq_id', new Uint32(), true)];
  const info = JSON.stringify({ info: { features: features(hooks, dtype) } });
  const schema = new Schema(
    [...fields, ...ids, new Field('pos', new Uint16(), true)],
    new Map([['huggingface', info]]),
  );
  return schema;
}

/** `dataset_info.json`. */
export function datasetInfo(hooks: readonly HookWidth[], dtype: ShardDtype, description: string): object {
  return { citation: '', description, features: features(hooks, dtype), homepage: '', license: '' };
}

/** `state.json`; the fingerprint names the content, so equal rows have equal fingerprints. */
export function datasetState(files: readonly string[], contentHash: string): object {
  return {
    _data_files: files.map((filename) => ({ filename })),
    _fingerprint: contentHash.slice(0, 16),
    _format_columns: null,
    _format_kwargs: {},
    _format_type: null,
    _output_all_columns: false,
    _split: null,
  };
}

/** `data-00003-of-00016.arrow`. */
export const shardName = (index: number, count: number): string =>
  `data-${digits(index)}-of-${digits(count)}.arrow`;

/** The sidecar of a shard: `data-00003-of-00016.json`. */
export const sidecarName = (shard: string): string => shard.replace(/\.arrow$/, '.json');

/** True for the sidecar of one of `count` shards. */
export const isSidecarName = (name: string, count: number): boolean =>
  name.endsWith(`-of-${digits(count)}.json`) && /^data-\d{5,}-of-\d+\.json$/.test(name);

const digits = (n: number): string => String(n).padStart(5, '0');

function features(hooks: readonly HookWidth[], dtype: ShardDtype): object {
  const value = (name: string) => ({ dtype: name, _type: 'Value' });
  const lists = hooks.map(({ name, width }) => [
    name,
    { feature: value(dtype), length: width, _type: 'Sequence' },
  ]);
  return {
    ...Object.fromEntries(lists),
    token_id: value('int32'),
    seq_id: value('uint32'),
    pos: value('uint16'),
  };
}
