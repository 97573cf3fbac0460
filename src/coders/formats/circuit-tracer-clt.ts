/**
 * @file A cross-layer transcoder in circuit-tracer's files: W_enc_i [F, d], b_enc_i, b_dec_i and perhaps threshold_i in
 * `W_enc_i.safetensors`, W_dec_i [F, L - i, d] in `W_dec_i.safetensors`. The decoders of one feature stand side by side
 * there as in our coder, so nothing has to be moved. A skip (circuit-tracer computes x W_skip, without the transpose of
 * the per-layer sets) is in no file that circuit-tracer writes.
 */
import { UnfoldError } from '../../errors.ts';
import { readFinite } from '../../model/finite.ts';
import { openSafetensors, type TensorSource } from '../../model/safetensors.ts';
import * as tf from '../../tensor/tf.ts';
import type { Coder } from '../base.ts';
import { type CltConfig, cltShapes, layersOf, ofLayer } from '../clt-layout.ts';
import { architectureNamed } from '../registry.ts';
import { checkedConfig } from './checked-config.ts';
import { hooksOfLayer, metadataOf, type TracerConfig } from './circuit-tracer-config.ts';
import { missingLayers, numbered, refuseContradiction, refuseNegative } from './circuit-tracer-layers.ts';
import type { CoderEntry, StoredTensor } from './format.ts';
import type { Place } from './place.ts';
import { tensorsOf } from './stored.ts';

/** Describes the transcoder from the headers of all its files. */
export async function openCrossLayer(place: Place, config: TracerConfig): Promise<CoderEntry> {
  const layers = numbered(place, 'W_enc');
  const missing = layers.filter((layer) => !place.names.has(decoderFile(layer)));
  if (missing.length) throw missingLayers(place.path, missing, 'its encoder, but no W_dec_N.safetensors');
  const files = layers.flatMap((layer) => [place.join(encoderFile(layer)), place.join(decoderFile(layer))]);
  const tensors: StoredTensor[] = [];
  for (const path of files) {
    const file = await openSafetensors(path);
    await file.close();
    tensors.push(...tensorsOf(file));
  }
  const cfg = configOf(tensors, layers.length, config, place.path);
  checkTensors(tensors, cfg, place.path);
  return {
    name: place.name,
    cfg,
    files,
    tensors,
    notes: [],
    warnings: [],
    load: () => load(place, cfg),
  };
}

export const encoderFile = (layer: number): string => `W_enc_${layer}.safetensors`;
export const decoderFile = (layer: number): string => `W_dec_${layer}.safetensors`;

function configOf(tensors: readonly StoredTensor[], n_layers: number, config: TracerConfig, where: string) {
  const shape = (name: string) => tensors.find((tensor) => tensor.name === name)?.shape ?? [];
  const isJumpReLU = shape('threshold_0').length > 0;
  refuseContradiction(isJumpReLU, config, where);
  const [d_sae = 0, d_in = 0] = shape('W_enc_0');
  const all = Array.from({ length: n_layers }, (_, layer) => hooksOfLayer(config, layer));
  const fields = {
    architecture: 'clt',
    activation: isJumpReLU ? 'jumprelu' : 'relu',
    n_layers,
    d_in,
    d_out: shape('b_dec_0')[0] ?? 0,
    d_sae,
    dtype: { F16: 'float16', BF16: 'bfloat16' }[tensors[0]?.dtype as 'F16'] ?? 'float32',
    metadata: {
      ...metadataOf(config),
      hook_names: all.map(({ hook_name }) => hook_name),
      hook_names_out: all.map(({ hook_name_out }) => hook_name_out),
    },
  };
  return checkedConfig(fields, where).cfg as CltConfig;
}

function checkTensors(tensors: readonly StoredTensor[], cfg: CltConfig, where: string): void {
  const expected = new Map<string, readonly number[]>(Object.entries(cltShapes(cfg)));
  for (const layer of layersOf(cfg))
    expected.set(ofLayer('W_dec', layer), [cfg.d_sae, cfg.n_layers - layer, cfg.d_out]);
  const wrong = [...expected].find(
    ([name, shape]) => tensors.find((tensor) => tensor.name === name)?.shape.join() !== shape.join(),
  );
  const stranger = tensors.find(({ name }) => !expected.has(name));
  if (!wrong && !stranger) return;
  const [name, shape] = wrong ?? [stranger!.name, []];
  const found = tensors.find((tensor) => tensor.name === name);
  throw new UnfoldError('bad-coder', {
    where: `${where}: tensor ${name}`,
    expected: wrong
      ? `shape [${shape.join(', ')}] in a transcoder of ${cfg.n_layers} layers`
      : `only ${[...expected.keys()].join(', ')}`,
    found: found ? `[${found.shape.join(', ')}]` : 'no such tensor',
    todo: 'check that all files belong to one transcoder, and that the last layers are there',
  });
}

async function load(place: Place, cfg: CltConfig): Promise<Coder> {
  const weights: Record<string, tf.Tensor> = {};
  try {
    for (const layer of layersOf(cfg)) {
      for (const name of [encoderFile(layer), decoderFile(layer)]) {
        const file = await openSafetensors(place.join(name));
        await readInto(weights, file, cltShapes(cfg)).finally(() => file.close());
      }
    }
    let coder: Coder = architectureNamed('clt', place.path).create(cfg, weights);
    for (const layer of layersOf(cfg)) coder = refuseNegative(coder, ofLayer('threshold', layer), place.path);
    return coder;
  } catch (error) {
    tf.dispose(weights);
    throw error;
  }
}

async function readInto(
  weights: Record<string, tf.Tensor>,
  file: TensorSource,
  shapes: Record<string, number[]>,
): Promise<void> {
  for (const name of file.names())
    weights[name] = tf.tensor(await readFinite(file, name), shapes[name]!, 'float32');
}
