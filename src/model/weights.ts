/**
 * @file The weights of a GPT-2 as tensors, read from a Hugging Face checkpoint. Layouts are the checkpoint's, except
 * that queries, keys and values have a matrix each: three products then give what attention reads, where one product's
 * result would have to be cut apart. tl-weights.ts gives TransformerLens's layouts. Every fault of a checkpoint is reported at once.
 */
import { UnfoldError } from '../errors.ts';
import { hashOf, sha256File } from '../files.ts';
import { Random } from '../random.ts';
import * as tf from '../tensor/tf.ts';
import type { GPT2Config } from './config.ts';
import { readFinite } from './finite.ts';
import type { TensorSource } from './safetensors.ts';

/** Weight and bias of a layer norm, [d_model] each. */
export interface LayerNormWeights {
  w: tf.Tensor1D;
  b: tf.Tensor1D;
}

/** One transformer block. Layer norms are absent once folded into the next map. */
export interface BlockWeights {
  ln1?: LayerNormWeights;
  /** [d_model, d_model] each, columns head after head. */
  W_Q: tf.Tensor2D;
  W_K: tf.Tensor2D;
  W_V: tf.Tensor2D;
  /** [d_model] each. */
  b_Q: tf.Tensor1D;
  b_K: tf.Tensor1D;
  b_V: tf.Tensor1D;
  /** [d_model, d_model], rows head after head. */
  W_O: tf.Tensor2D;
  b_O: tf.Tensor1D;
  ln2?: LayerNormWeights;
  /** [d_model, d_mlp]. */
  W_in: tf.Tensor2D;
  b_in: tf.Tensor1D;
  /** [d_mlp, d_model]. */
  W_out: tf.Tensor2D;
  b_out: tf.Tensor1D;
}

/** All weights. With a tied head, `W_U` is the same tensor as `W_E`. */
export interface GPT2Weights {
  /** [d_vocab, d_model]. */
  W_E: tf.Tensor2D;
  /** [n_ctx, d_model]. */
  W_pos: tf.Tensor2D;
  blocks: BlockWeights[];
  ln_final?: LayerNormWeights;
  /** [d_vocab, d_model]: TransformerLens's W_U transposed. */
  W_U: tf.Tensor2D;
  /** [d_vocab]; absent in the checkpoint, made by folding. */
  b_U?: tf.Tensor1D;
}

type Shape = [number] | [number, number];

/** Name in the checkpoint (without `transformer.`) to shape, of every tensor that is needed. */
export function checkpointShapes(cfg: GPT2Config): Map<string, Shape> {
  const { d_model: d, d_mlp } = cfg;
  const shapes = new Map<string, Shape>([
    ['wte.weight', [cfg.d_vocab, d]],
    ['wpe.weight', [cfg.n_ctx, d]],
  ]);
  for (let l = 0; l < cfg.n_layers; l++) {
    const block: [string, Shape][] = [
      ['ln_1.weight', [d]],
      ['ln_1.bias', [d]],
      ['attn.c_attn.weight', [d, 3 * d]],
      ['attn.c_attn.bias', [3 * d]],
      ['attn.c_proj.weight', [d, d]],
      ['attn.c_proj.bias', [d]],
      ['ln_2.weight', [d]],
      ['ln_2.bias', [d]],
      ['mlp.c_fc.weight', [d, d_mlp]],
      ['mlp.c_fc.bias', [d_mlp]],
      ['mlp.c_proj.weight', [d_mlp, d]],
      ['mlp.c_proj.bias', [d]],
    ];
    for (const [name, shape] of block) shapes.set(`h.${l}.${name}`, shape);
  }
  shapes.set('ln_f.weight', [d]).set('ln_f.bias', [d]);
  if (!cfg.tie_word_embeddings) shapes.set('lm_head.weight', [cfg.d_vocab, d]);
  return shapes;
}

/** Buffers that old checkpoints carry and nothing needs: causal masks. */
const buffers = /\.attn\.(bias|masked_bias)$/;

/**
 * Reads the weights; extra tensors are left alone and returned by name.
 * @throws UnfoldError `bad-model` that lists every missing and misshapen tensor.
 */
export async function readWeights(
  source: TensorSource,
  cfg: GPT2Config,
): Promise<{ weights: GPT2Weights; unused: string[] }> {
  boundLayers(source, cfg);
  const shapes = checkpointShapes(cfg);
  const names = storedNames(source, shapes);
  const tensors = new Map<string, tf.Tensor>();
  try {
    for (const [name, shape] of shapes) {
      tensors.set(name, tf.tensor(await readFinite(source, names.get(name)!), shape, 'float32'));
    }
  } catch (error) {
    tf.dispose([...tensors.values()]);
    throw error;
  }
  const used = new Set([...names.values(), 'lm_head.weight', 'transformer.lm_head.weight']);
  const unused = source.names().filter((name) => !used.has(name) && !buffers.test(name));
  return { weights: assemble(cfg, tensors), unused };
}

/** A list of what n_layer asks for is made only if the file could hold as many: it may be any number. */
function boundLayers(source: TensorSource, { n_layers }: GPT2Config): void {
  const names = source.names();
  if (n_layers <= names.length) return;
  const blocks = new Set(names.map((name) => /(?:^|\.)h\.(\d+)\./.exec(name)?.[1]).filter(Boolean));
  throw new UnfoldError('bad-model', {
    where: `${source.path}: n_layer of the config.json beside it`,
    expected: `${blocks.size}, the blocks of which there are tensors`,
    found: String(n_layers),
    todo: 'check that config.json and the weights belong together; download the model again',
  });
}

/** Faults that are named; the rest is counted. */
const NAMED_FAULTS = 20;

/** Finds every tensor under its bare or prefixed name and checks its shape. */
function storedNames(source: TensorSource, shapes: Map<string, Shape>): Map<string, string> {
  const names = new Map<string, string>();
  const faults: string[] = [];
  for (const [name, shape] of shapes) {
    const stored = [`transformer.${name}`, name].find((candidate) => source.info(candidate));
    const found = stored === undefined ? undefined : source.info(stored)!.shape;
    if (stored === undefined) faults.push(`${name} is missing`);
    else if (found!.join() !== shape.join())
      faults.push(`${stored} is [${found!.join(', ')}], not [${shape.join(', ')}]`);
    else names.set(name, stored);
  }
  if (faults.length === 0) return names;
  throw new UnfoldError('bad-model', {
    where: source.path,
    expected: `the ${shapes.size} tensors that config.json describes`,
    found: `${faults.length} faults: ${faults.slice(0, NAMED_FAULTS).join('; ')}${faults.length > NAMED_FAULTS ? '; …' : ''}`,
    todo: 'check that config.json and the weights belong together; download the model again',
  });
}

function assemble(cfg: GPT2Config, tensors: Map<string, tf.Tensor>): GPT2Weights {
  const matrix = (name: string) => tensors.get(name) as tf.Tensor2D;
  const vector = (name: string) => tensors.get(name) as tf.Tensor1D;
  const norm = (name: string) => ({ w: vector(`${name}.weight`), b: vector(`${name}.bias`) });
  const W_E = matrix('wte.weight');
  return {
    W_E,
    W_pos: matrix('wpe.weight'),
    blocks: Array.from({ length: cfg.n_layers }, (_, l) => ({
      ln1: norm(`h.${l}.ln_1`),
      ...queryKeyValue(matrix(`h.${l}.attn.c_attn.weight`), vector(`h.${l}.attn.c_attn.bias`)),
      W_O: matrix(`h.${l}.attn.c_proj.weight`),
      b_O: vector(`h.${l}.attn.c_proj.bias`),
      ln2: norm(`h.${l}.ln_2`),
      W_in: matrix(`h.${l}.mlp.c_fc.weight`),
      b_in: vector(`h.${l}.mlp.c_fc.bias`),
      W_out: matrix(`h.${l}.mlp.c_proj.weight`),
      b_out: vector(`h.${l}.mlp.c_proj.bias`),
    })),
    ln_final: norm('ln_f'),
    W_U: cfg.tie_word_embeddings ? W_E : matrix('lm_head.weight'),
  };
}

/** The checkpoint's one matrix cut into three; the whole is freed. */
function queryKeyValue(W: tf.Tensor2D, b: tf.Tensor1D) {
  const [W_Q, W_K, W_V] = tf.split(W, 3, 1) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
  const [b_Q, b_K, b_V] = tf.split(b, 3) as [tf.Tensor1D, tf.Tensor1D, tf.Tensor1D];
  tf.dispose([W, b]);
  return { W_Q, W_K, W_V, b_Q, b_K, b_V };
}

/** One hash for the files of a checkpoint: the file's own SHA-256, or that of the list of hashes if there are several. */
export async function hashFiles(files: readonly string[]): Promise<string> {
  const hashes: string[] = [];
  for (const file of files) hashes.push(await sha256File(file));
  return hashes.length === 1 ? hashes[0]! : hashOf(hashes);
}

/** Seeded random weights in the manner of GPT-2's initialisation (normal, 0.02): for benchmarks and tests. */
export function randomWeights(cfg: GPT2Config, seed: number): GPT2Weights {
  const tensors = new Map<string, tf.Tensor>();
  for (const [name, shape] of checkpointShapes(cfg)) {
    const random = Random.of(seed, name);
    const length = shape.reduce((a: number, b) => a * b, 1);
    const values = new Float32Array(length);
    if (shape.length === 2) for (let i = 0; i < length; i++) values[i] = 0.02 * random.normal();
    else if (name.endsWith('weight')) values.fill(1);
    tensors.set(name, tf.tensor(values, shape, 'float32'));
  }
  return assemble(cfg, tensors);
}

/** Every distinct tensor of a set of weights. */
export function allTensors(weights: GPT2Weights): tf.Tensor[] {
  const found = new Set<tf.Tensor>();
  const visit = (value: unknown) => {
    if (value instanceof tf.Tensor) found.add(value);
    else if (value && typeof value === 'object') Object.values(value).forEach(visit);
  };
  visit(weights);
  return [...found];
}
