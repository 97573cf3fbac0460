/**
 * @file Writing circuit-tracer's sets: transcoders of the layers 0 … n - 1 that read and write the same hooks, or one
 * cross-layer transcoder. circuit-tracer 0.5 computes relu and JumpReLU, does not subtract b_dec, and reads no skip of a
 * cross-layer transcoder; whatever is otherwise is refused with the reason.
 */

import { join } from 'node:path';
import { writeFileAtomically } from '../../files.ts';
import type { Dtype } from '../../model/dtypes.ts';
import { type TensorToWrite, writeSafetensors } from '../../model/safetensors-write.ts';
import type { Coder } from '../base.ts';
import { checkedConfig } from '../checked-config.ts';
import { type CltConfig, cltConfig, layersOf, ofLayer } from '../clt-layout.ts';
import { outputWidth } from '../config.ts';
import { cannotExport, refuseNormalisation, withCoder } from './cannot-export.ts';
import { decoderFile, encoderFile } from './circuit-tracer-clt.ts';
import { type TracerConfig, tracerConfigText } from './circuit-tracer-config.ts';
import { layersText, missingLayers, THRESHOLD } from './circuit-tracer-layers.ts';
import type { WritableCoder, WriteOptions } from './format.ts';
import { split } from './hookpoints.ts';

const LAYOUT = 'circuit-tracer';
const DTYPES: Readonly<Record<string, Dtype>> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };
const ARCHITECTURES = ['transcoder', 'skip_transcoder', 'jumprelu_transcoder', 'jumprelu_skip_transcoder'];

/** Writes config.yaml last: a folder without it is not a set. */
export async function writeCircuitTracer(
  coders: readonly WritableCoder[],
  dir: string,
  options: WriteOptions,
): Promise<string[]> {
  const [first] = coders;
  const isCrossLayer = coders.length === 1 && first!.cfg.architecture === 'clt';
  const { config, names } = isCrossLayer
    ? await writeCrossLayer(first!, dir, options)
    : await writeLayers(coders, dir, options);
  await writeFileAtomically(join(dir, 'config.yaml'), tracerConfigText(config));
  return names;
}

interface Written {
  config: TracerConfig;
  /** What each coder is called in the set. */
  names: string[];
}

/** A transcoder of a set, and the hooks that it shares with the others. */
interface LayerCoder {
  entry: WritableCoder;
  layer: number;
  hooks: [string, string];
}

async function writeLayers(
  coders: readonly WritableCoder[],
  dir: string,
  options: WriteOptions,
): Promise<Written> {
  const layers = coders.map(layerCoder);
  checkSet(layers);
  for (const { entry, layer } of layers) {
    const tensors = await withCoder(entry, (coder) => tensorsOf(coder, options));
    await writeSafetensors(join(dir, `layer_${layer}.safetensors`), tensors);
  }
  const { entry, hooks } = layers[0]!;
  return {
    config: configOf(entry, 'transcoder_set', hooks, options),
    names: layers.map(({ layer }) => `layer_${layer}`),
  };
}

/** One coder a layer, from layer 0 on, all alike. */
function checkSet(layers: readonly LayerCoder[]): void {
  const numbers = layers.map(({ layer }) => layer);
  const twice = layers.find(({ layer }, i) => numbers.indexOf(layer) !== i);
  if (twice) {
    const other = layers[numbers.indexOf(twice.layer)]!.entry.name;
    const found = `layer ${twice.layer} a second time (${other})`;
    throw cannotExport(twice.entry.name, LAYOUT, found, 'give one coder a layer');
  }
  const wanted = Array.from({ length: Math.max(...numbers) + 1 }, (_, layer) => layer);
  const missing = wanted.filter((layer) => !numbers.includes(layer));
  if (missing.length) throw missingLayers('the set to be written', missing, `one for ${layersText(numbers)}`);
  for (const other of layers) checkAlike(layers[0]!, other);
}

function checkLayer(entry: WritableCoder): void {
  const { name, cfg } = entry;
  if (!ARCHITECTURES.includes(cfg.architecture))
    throw cannotExport(
      name,
      LAYOUT,
      `architecture ${cfg.architecture}: its sets hold transcoders with relu or JumpReLU latents`,
      /transcoder/.test(cfg.architecture) ? 'export it as saelens' : 'train a transcoder of an MLP instead',
    );
  refuseNormalisation(entry, LAYOUT);
  if (outputWidth(cfg) !== cfg.d_in)
    throw cannotExport(
      name,
      LAYOUT,
      `inputs of width ${cfg.d_in} and outputs of width ${outputWidth(cfg)}`,
      'export it as saelens',
    );
}

/** Layer and hooks without `blocks.N.`. */
function layerCoder(entry: WritableCoder): LayerCoder {
  checkLayer(entry);
  const { hook_name, hook_name_out } = entry.cfg.metadata;
  const input = split(String(hook_name ?? ''));
  const output = split(String(hook_name_out ?? ''));
  if (input && output && input.layer === output.layer)
    return { entry, layer: input.layer, hooks: [input.kind, output.kind] };
  throw cannotExport(
    entry.name,
    LAYOUT,
    `hook_name ${String(hook_name)} and hook_name_out ${String(hook_name_out)} in its metadata`,
    'both must name an activation of one layer: blocks.0.ln2.hook_normalized and blocks.0.hook_mlp_out',
  );
}

function checkAlike(first: LayerCoder, other: LayerCoder): void {
  const a = first.entry.cfg;
  const b = other.entry.cfg;
  const than = `where ${first.entry.name}`;
  const found =
    first.hooks.join() !== other.hooks.join()
      ? `hooks ${other.hooks.join(' and ')} ${than} has ${first.hooks.join(' and ')}`
      : a.d_sae !== b.d_sae || a.d_in !== b.d_in
        ? `${b.d_sae} features of width ${b.d_in} ${than} has ${a.d_sae} of ${a.d_in}`
        : a.architecture !== b.architecture
          ? `architecture ${b.architecture} ${than} is ${a.architecture}`
          : undefined;
  if (found) throw cannotExport(other.entry.name, LAYOUT, found, 'a set has one shape and one pair of hooks');
}

async function tensorsOf(coder: Coder, options: WriteOptions): Promise<Record<string, TensorToWrite>> {
  const tensors: Record<string, TensorToWrite> = {};
  for (const [name, tensor] of Object.entries(coder.weights)) {
    const data = (await tensor.data()) as Float32Array;
    tensors[name === 'threshold' ? THRESHOLD : name] = {
      shape: tensor.shape,
      data,
      dtype: dtypeOf(coder, options),
    };
  }
  return tensors;
}

const dtypeOf = (coder: Pick<Coder, 'cfg'>, { dtype }: WriteOptions): Dtype =>
  DTYPES[dtype ?? coder.cfg.dtype] ?? 'F32';

function configOf(
  { cfg }: WritableCoder,
  model_kind: TracerConfig['model_kind'],
  [feature_input_hook, feature_output_hook]: [string, string],
  { scan }: WriteOptions,
): TracerConfig {
  const { model_name, scan: origin } = cfg.metadata;
  const named = scan ?? (typeof origin === 'string' ? origin : undefined);
  return {
    model_name: String(model_name ?? 'unknown'),
    model_kind,
    feature_input_hook,
    feature_output_hook,
    ...(named !== undefined && { scan: named }),
  };
}

async function writeCrossLayer(entry: WritableCoder, dir: string, options: WriteOptions): Promise<Written> {
  const { name } = entry;
  const cfg = checkedConfig(cltConfig, entry.cfg);
  if (cfg.activation !== 'relu' && cfg.activation !== 'jumprelu')
    throw cannotExport(
      name,
      LAYOUT,
      `activation ${cfg.activation}`,
      'export it as saelens (Unfold’s own layout)',
    );
  if (cfg.skip)
    throw cannotExport(
      name,
      LAYOUT,
      'a skip path, which circuit-tracer neither saves nor reads for cross-layer transcoders',
      'export it as saelens (Unfold’s own layout)',
    );
  const hooks = hooksOfCrossLayer(entry, cfg.n_layers);
  await withCoder(entry, (coder) => writeCrossLayerFiles(coder, cfg, dir, options));
  return { config: configOf(entry, 'cross_layer_transcoder', hooks, options), names: [entry.name] };
}

async function writeCrossLayerFiles(
  coder: Coder,
  cfg: CltConfig,
  dir: string,
  options: WriteOptions,
): Promise<void> {
  const vectors = cfg.activation === 'jumprelu' ? ['b_enc', 'b_dec', 'threshold'] : ['b_enc', 'b_dec'];
  const dtype = dtypeOf(coder, options);
  for (const layer of layersOf(cfg)) {
    const at = async (weight: string, shape?: number[]): Promise<[string, TensorToWrite]> => {
      const tensor = coder.weights[ofLayer(weight, layer)]!;
      const data = (await tensor.data()) as Float32Array;
      return [ofLayer(weight, layer), { shape: shape ?? tensor.shape, data, dtype }];
    };
    const encoder = await Promise.all(['W_enc', ...vectors].map((weight) => at(weight)));
    const decoder = await at('W_dec', [cfg.d_sae, cfg.n_layers - layer, cfg.d_out]);
    await writeSafetensors(join(dir, encoderFile(layer)), new Map(encoder));
    await writeSafetensors(join(dir, decoderFile(layer)), new Map([decoder]));
  }
}

/** The one input and output hook of all layers. */
function hooksOfCrossLayer({ name, cfg }: WritableCoder, n_layers: number): [string, string] {
  const kind = (key: string): string | undefined => {
    const names = cfg.metadata[key];
    const parts = Array.isArray(names) ? names.map((hook) => split(String(hook))) : [];
    const isWhole = parts.length === n_layers && parts.every((part, layer) => part?.layer === layer);
    return isWhole && parts.every((part) => part!.kind === parts[0]!.kind) ? parts[0]!.kind : undefined;
  };
  const input = kind('hook_names');
  const output = kind('hook_names_out');
  if (input && output) return [input, output];
  throw cannotExport(
    name,
    LAYOUT,
    'hook_names or hook_names_out in its metadata that are not one hook of the layers 0 … n - 1',
    'train it on the same hook of every layer of the model',
  );
}
