/**
 * @file circuit-tracer's sets (safety-research / decoderesearch, 0.5): `config.yaml` with per-layer transcoders
 * (`layer_0.safetensors` …, or a list of files) or a cross-layer transcoder (`W_enc_0.safetensors`, `W_dec_0.safetensors`
 * …). Both directions. A threshold in a file means JumpReLU, none means ReLU; the hooks are the config's, word for word:
 * `mlp.hook_in`, `ln2.hook_normalized` and `hook_resid_mid` are three activations. Gemma Scope's own files are left out.
 */
import { dirname } from 'node:path';
import { UnfoldError } from '../../errors.ts';
import { openCrossLayer } from './circuit-tracer-clt.ts';
import { readTracerConfig, TRACER_KEYS, type TracerConfig } from './circuit-tracer-config.ts';
import { layerFiles, openLayer } from './circuit-tracer-layers.ts';
import { writeCircuitTracer } from './circuit-tracer-write.ts';
import type { CoderEntry, CoderFormat, CoderSource } from './format.ts';
import { heedKeys, strangeFiles } from './keys.ts';
import { Place } from './place.ts';

export const CONFIG_FILE = 'config.yaml';

export const circuitTracer: CoderFormat = {
  name: 'circuit-tracer',
  about: 'circuit-tracer 0.5: config.yaml with a set of transcoders or a cross-layer transcoder',

  async detect(place: Place) {
    if (place.kind === 'file')
      return LAYER_FILE.test(place.path) ? 'the name layer_N.safetensors' : undefined;
    const text = await place.text(CONFIG_FILE);
    if (text !== undefined)
      return /^model_kind\s*:/m.test(text) ? `${CONFIG_FILE} with model_kind` : undefined;
    if (place.names.has('layer_0.safetensors')) return 'layer_0.safetensors';
    return place.names.has('W_enc_0.safetensors') ? 'W_enc_0.safetensors' : undefined;
  },

  async open(place: Place): Promise<CoderSource> {
    if (place.kind === 'file') return openLayerFile(place);
    const config = await readTracerConfig(place, CONFIG_FILE);
    const shared = { format: 'circuit-tracer', path: place.path, about: config };
    const warnings = warningsOf(place, config);
    if (config.model_kind === 'cross_layer_transcoder')
      return { ...shared, kind: 'coder', entries: [said(await openCrossLayer(place, config), warnings)] };
    const files = await layerFiles(place, config);
    const entries: CoderEntry[] = [];
    for (const [layer, path] of files.entries()) entries.push(await openLayer(path, layer, config));
    refuseUnequal(entries, place);
    // What is true of the set is said once, with its first coder.
    return {
      ...shared,
      kind: 'set',
      entries: entries.map((entry, i) => (i ? entry : said(entry, warnings))),
    };
  },

  write: writeCircuitTracer,
};

/** What the set holds beside what is read of it. */
function warningsOf(place: Place, config: TracerConfig): string[] {
  const listed = new Set(config.transcoders?.map((name) => name.split('/').at(-1)));
  const isOwn =
    config.model_kind === 'cross_layer_transcoder'
      ? (name: string) => /^W_(enc|dec)_\d+\.safetensors$/.test(name)
      : (name: string) => (config.transcoders ? listed.has(name) : /^layer_\d+\.safetensors$/.test(name));
  return [...heedKeys(config, TRACER_KEYS, place.join(CONFIG_FILE)), ...strangeFiles(place.names, isOwn)];
}

const said = (entry: CoderEntry, warnings: readonly string[]): CoderEntry => ({
  ...entry,
  warnings: [...entry.warnings, ...warnings],
});

/** One layer of a set, given by its file: the config beside it says what it reads. */
const LAYER_FILE = /(?:^|[\\/])layer_(\d+)\.safetensors$/;

async function openLayerFile(file: Place): Promise<CoderSource> {
  const beside = await Place.at(dirname(file.path));
  const config = await readTracerConfig(beside, CONFIG_FILE);
  const layer = Number(LAYER_FILE.exec(file.path)![1]);
  const warnings = heedKeys(config, TRACER_KEYS, beside.join(CONFIG_FILE));
  const entry = said(await openLayer(file.path, layer, config), warnings);
  return { format: 'circuit-tracer', path: file.path, kind: 'coder', entries: [entry], about: config };
}

/** The layers of a set have one width and one number of features. */
function refuseUnequal(entries: readonly CoderEntry[], place: Place): void {
  const [first] = entries;
  const other = entries.find(({ cfg }) => cfg.d_sae !== first?.cfg.d_sae || cfg.d_in !== first.cfg.d_in);
  if (!first || !other) return;
  throw new UnfoldError('bad-coder', {
    where: place.path,
    expected: 'layers of one shape',
    found: `${first.name} with ${first.cfg.d_sae} features of width ${first.cfg.d_in}, ${other.name} with ${other.cfg.d_sae} of ${other.cfg.d_in}`,
    todo: 'check that the files belong to one set',
  });
}
