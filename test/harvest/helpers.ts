/** @file A model that is a formula, and a harvest of it: everything about harvesting but the arithmetic. */
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type StageContext, silent } from '../../src/context.ts';
import { sha256File } from '../../src/files.ts';
import type { HookedModel } from '../../src/harvest/forward.ts';
import { type HarvestOptions, type HarvestResult, harvest } from '../../src/harvest/harvest.ts';
import { ActivationCache } from '../../src/model/activation-cache.ts';
import { parseGPT2Config } from '../../src/model/config.ts';
import { defaultFlags } from '../../src/model/hook-names.ts';
import type { Tokenizer } from '../../src/model/tokenizer.ts';
import * as tf from '../../src/tensor/tf.ts';
import { type Corpus, corpusOf } from '../../src/text/contexts.ts';

/** Token id 0 is special. */
export const tokenizer = { specialIds: new Set([0]), hash: 'tokenizer' } as unknown as Tokenizer;

/** Two layers, width 4, two heads of 2. */
const cfg = parseGPT2Config('test', { n_layer: 2, n_embd: 4, n_head: 2, n_positions: 8, vocab_size: 50 });

/** Entry j of a row is token + position / 8 + j / 64, plus 100 times the layer, plus 1000 for hook_z. */
export function formula(name: string, token: number, position: number, j: number): number {
  const layer = Number(/^blocks\.(\d)/.exec(name)?.[1] ?? 0);
  return token + position / 8 + j / 64 + 100 * layer + (name.includes('hook_z') ? 1000 : 0);
}

/** The formula as a model; `spoil` changes values, `onForward` is told of each pass. */
export function formulaModel(
  options: { spoil?: (value: number, token: number) => number; onForward?: () => void } = {},
): HookedModel {
  const { spoil = (value: number) => value, onForward } = options;
  const activations: HookedModel['activations'] = (tokens, names) => {
    onForward?.();
    const { ids, shape } = tokens as { ids: Int32Array; shape: [number, number] };
    const [batch, pos] = shape;
    const entries = names.map((name): [string, tf.Tensor] => {
      const at = (i: number) => spoil(formula(name, ids[i >> 2]!, (i >> 2) % pos, i & 3), ids[i >> 2]!);
      const values = Float32Array.from({ length: ids.length * 4 }, (_, i) => at(i));
      return [name, tf.tensor(values, name.endsWith('hook_z') ? [batch, pos, 2, 2] : [batch, pos, 4])];
    });
    return new ActivationCache(entries);
  };
  return { cfg, flags: { ...defaultFlags }, weightsHash: 'weights', activations };
}

/** Contexts of 8 tokens: BOS (0), then tokens 1 … 40, with a 0 now and then. */
export function formulaCorpus(contexts = 23): Corpus {
  const token = (context: number, position: number) =>
    position === 0
      ? 0
      : (7 * context + 5 * position * position) % 13 === 3
        ? 0
        : 1 + ((11 * context + position) % 40);
  return corpusOf(
    Array.from({ length: contexts }, (_, context) =>
      Array.from({ length: 8 }, (_, position) => token(context, position)),
    ),
  );
}

export const hook = 'blocks.1.hook_resid_pre';

/** Settings of the formula's harvest: 4 contexts a block, 2 blocks a shard, 3 shards. */
export const settings: Omit<HarvestOptions, 'out'> = {
  model: 'formula',
  text: { dataset: 'rows', context_size: 8 },
  hook_names: [hook, 'blocks.0.attn.hook_z'],
  batch_contexts: 4,
  shard_rows: 64,
};

/** Harvests the formula into `out`. */
export function run(
  out: string,
  change: Partial<HarvestOptions> = {},
  model: HookedModel = formulaModel(),
  context: StageContext = silent(),
): Promise<HarvestResult> {
  return harvest({ ...settings, ...change, out }, context, { model, tokenizer, corpus: formulaCorpus() });
}

/** A new empty folder. */
export const folder = (): Promise<string> => mkdtemp(join(tmpdir(), 'unfold-harvest-'));

/** SHA-256 of every file in a folder. */
export async function contents(dir: string): Promise<Record<string, string>> {
  const names = (await readdir(dir)).sort();
  const files = await Promise.all(names.map(async (name) => [name, await sha256File(join(dir, name))]));
  return Object.fromEntries(files);
}
