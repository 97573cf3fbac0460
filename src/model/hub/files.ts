/** @file Which files of a model are needed, told to anything that can hand them over: the hub, or the cache alone. */
import { readJson } from '../../files.ts';
import { weightMapOf } from '../weight-map.ts';
import { missingFile, onlyPickle } from './errors.ts';
import type { HubReference } from './reference.ts';

/** Hands over files of one model. */
export interface FileSource {
  readonly reference: HubReference;
  /** Where it looks, for messages. */
  readonly place: string;
  /** The file's path here, or undefined if the model has no such file. */
  get(file: string): Promise<string | undefined>;
  /** True if the model has the file; nothing is fetched. */
  has(file: string): Promise<boolean>;
}

/** What is wanted of a model. */
export type Need = 'model' | 'tokenizer' | readonly string[];

/** Gets everything that is needed. @throws UnfoldError `missing-file`, `pickled-model`, and what the source throws. */
export async function gather(source: FileSource, need: Need): Promise<void> {
  if (need === 'model') await gatherModel(source);
  else if (need === 'tokenizer') await gatherTokenizer(source);
  else for (const file of need) await demand(source, file);
}

async function gatherModel(source: FileSource): Promise<void> {
  await demand(source, 'config.json');
  await gatherTokenizer(source);
  if ((await source.get('model.safetensors')) !== undefined) return;
  const index = await source.get('model.safetensors.index.json');
  if (index === undefined) {
    // A pickle is never downloaded, only asked for.
    const pickles = ['pytorch_model.bin', 'pytorch_model.bin.index.json'].map((file) => source.has(file));
    throw (await Promise.all(pickles)).includes(true)
      ? onlyPickle(source.reference)
      : missingFile('model.safetensors', source.reference, source.place);
  }
  for (const shard of await shardsOf(index)) await demand(source, shard);
}

async function shardsOf(index: string): Promise<string[]> {
  return [...new Set(Object.values(weightMapOf(await readJson(index), index)))].sort();
}

/** Files that decide ids beside the vocabulary, where a model has them. */
const BESIDE_TOKENIZER = [
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'config.json',
];

async function gatherTokenizer(source: FileSource): Promise<void> {
  if ((await source.get('tokenizer.json')) === undefined) {
    await demand(source, 'vocab.json');
    await demand(source, 'merges.txt');
  }
  for (const optional of BESIDE_TOKENIZER) await source.get(optional);
}

async function demand(source: FileSource, file: string): Promise<void> {
  if ((await source.get(file)) === undefined) throw missingFile(file, source.reference, source.place);
}
