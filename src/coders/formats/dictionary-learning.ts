/**
 * @file dictionary_learning's layout (saprmarks, 0.1): `trainer_i/ae.pt`, a state dictionary, with `config.json` beside it
 * (or above `checkpoints/ae_N.pt`). The class is named by `dict_class`, and by the tensors where that says enough.
 * Weights are taken as stored: `AutoEncoder.from_pretrained` rescales decoder rows to norm 1, which changes activations
 * and not outputs (`foldDecoderNorms` does the same). IdentityDict and CrossCoder are left out.
 */
import { dirname, join, resolve, sep } from 'node:path';
import { brief } from '../../checked.ts';
import { UnfoldError } from '../../errors.ts';
import { openStateDict, type StateDict } from '../../pickle/state-dict.ts';
import { DICTIONARIES, dictionaryOf } from './dictionaries.ts';
import { BUFFER_KEYS, CONFIG_KEYS, TRAINER_KEYS } from './dictionary-keys.ts';
import type { CoderFormat, CoderSource, OpenOptions } from './format.ts';
import { heedKeys } from './keys.ts';
import { type Fields, Place } from './place.ts';
import { entryOf, refused, scalar } from './stored.ts';

const CONFIG = 'config.json';
const WEIGHTS = 'ae.pt';

export const dictionaryLearning: CoderFormat = {
  name: 'dictionary_learning',
  about: 'dictionary_learning 0.1: trainer_i/ae.pt with config.json, or checkpoints/ae_N.pt',

  async detect(place: Place) {
    if (place.names.has(WEIGHTS)) return WEIGHTS;
    if (place.kind !== 'file' || !/\.(pt|pth)$/.test(place.path)) return undefined;
    const file = await openStateDict(place.path);
    await file.close();
    const named = DICTIONARIES.filter(({ tensors }) => tensors.every((name) => file.names().includes(name)));
    return named.length ? `tensors of ${named.map(({ name }) => name).join(' or ')}` : undefined;
  },

  async open(place: Place, options: OpenOptions): Promise<CoderSource> {
    const path = place.kind === 'file' ? place.path : place.join(WEIGHTS);
    const config = await configOf(place);
    const entry = await entryOf(await stored(path, config, options));
    return { format: 'dictionary_learning', path: place.path, kind: 'coder', entries: [entry] };
  },
};

/** config.json beside the weights, or one folder up for `checkpoints/ae_N.pt`. */
async function configOf(place: Place): Promise<Fields> {
  const beside = place.kind === 'file' ? await Place.at(dirname(place.path)) : place;
  const config =
    (await beside.json(CONFIG)) ?? (await (await Place.at(join(beside.path, '..'))).json(CONFIG));
  return isFields(config?.trainer) ? { buffer: {}, ...config } : { trainer: {}, buffer: {} };
}

const isFields = (value: unknown): value is Fields =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

/** What the keys of config.json say against its coder, or in vain. */
function warningsOf(config: Fields, where: string): string[] {
  const buffer = isFields(config.buffer) ? config.buffer : {};
  const { io } = buffer;
  return [
    ...heedKeys(config, CONFIG_KEYS, where),
    ...heedKeys(config.trainer as Fields, TRAINER_KEYS, `${where}: trainer`),
    ...heedKeys(buffer, BUFFER_KEYS, `${where}: buffer`),
    ...(io === 'in_and_out'
      ? ["buffer.io in_and_out: it was trained to predict a module's output from its input"]
      : []),
  ];
}

async function stored(path: string, config: Fields, options: OpenOptions) {
  const file = await openStateDict(path);
  try {
    const trainer = config.trainer as Fields;
    const dictionary = dictionaryOf(file, trainer.dict_class, path);
    const width = file.info(dictionary.weight)?.shape ?? [];
    const [d_sae = 0, d_in = 0] = dictionary.featureMajor ? width : width.toReversed();
    const rule = await ruleOf(file, dictionary.thresholds, options, path);
    await checkK(file, trainer, path);
    checkWidths({ d_in, d_sae }, config, path);
    refuseValues(file);
    return {
      name: nameOf(path),
      layer: typeof trainer.layer === 'number' ? trainer.layer : undefined,
      where: path,
      cfg: {
        ...dictionary.cfg,
        ...rule.cfg,
        d_in,
        d_sae,
        normalize_activations: 'none',
        metadata: metadataOf(config, dictionary.name, rule.threshold),
      },
      plan: { ...dictionary.plan, ...rule.plan },
      ignored: ['k', 'threshold', 'group_sizes'].filter((name) => file.names().includes(name)),
      open: () => openStateDict(path),
      notes: rule.notes,
      warnings: warningsOf(config, `${CONFIG} of ${path}`),
    };
  } finally {
    await file.close();
  }
}

/** trainer_0 of trainer_0/ae.pt, ae_100 of checkpoints/ae_100.pt. */
function nameOf(path: string): string {
  const parts = resolve(path).split(sep);
  const file = parts.at(-1)!.replace(/\.\w+$/, '');
  return file === 'ae' ? (parts.at(-2) ?? file) : file;
}

function metadataOf({ trainer, buffer }: Fields, dict_class: string, threshold: number | undefined): Fields {
  const { layer, lm_name, submodule_name } = trainer as Fields;
  const { io, ctx_len } = (isFields(buffer) ? buffer : {}) as Fields;
  const resid = io !== 'in' && io !== 'in_and_out' && /^resid_post_layer_(\d+)$/.exec(String(submodule_name));
  return {
    ...(typeof lm_name === 'string' && { model_name: lm_name }),
    ...(resid && { hook_name: `blocks.${resid[1]}.hook_resid_post` }),
    ...(Number.isSafeInteger(ctx_len) && { context_size: ctx_len }),
    dictionary_learning: { dict_class, layer, submodule_name, io, threshold },
  };
}

type Rule = {
  cfg: Fields;
  plan: Record<string, { fill: number }>;
  threshold?: number | undefined;
  notes: string[];
};

/** How the latents of a BatchTopK or TopK dictionary are chosen. */
async function ruleOf(
  file: StateDict,
  own: 'threshold' | 'topk' | undefined,
  options: OpenOptions,
  where: string,
): Promise<Rule> {
  if (!own) return { cfg: {}, plan: {}, notes: [] };
  const threshold = await scalar(file, 'threshold');
  const k = await scalar(file, 'k');
  const rule = options.rule ?? own;
  if (rule !== 'threshold') {
    const cfg = {
      architecture: 'topk',
      k,
      rescale_acts_by_decoder_norm: false,
    };
    return {
      cfg,
      plan: {},
      threshold,
      notes:
        rule === own
          ? []
          : [`the ${k} largest latents of each row, where training took ${k} a row on average of a batch`],
    };
  }
  if (threshold >= 0) {
    const notes = [`a latent is on above ${threshold}, the threshold of training`];
    return { cfg: { architecture: 'jumprelu' }, plan: { threshold: { fill: threshold } }, threshold, notes };
  }
  throw new UnfoldError('bad-coder', {
    where: `${where}: tensor threshold`,
    expected: 'a threshold that training has set (from threshold_start_step on)',
    found: `${threshold}: it was never set, and every positive latent would be on`,
    todo: '--rule topk takes the k largest latents of each row instead, or use a later checkpoint',
  });
}

/** Widths of config.json must be those of the weights. */
function checkWidths({ d_in, d_sae }: { d_in: number; d_sae: number }, config: Fields, where: string): void {
  const { activation_dim, dict_size } = config.trainer as Fields;
  const { d_submodule } = (isFields(config.buffer) ? config.buffer : {}) as Fields;
  const said: [string, unknown, number][] = [
    ['trainer.activation_dim', activation_dim, d_in],
    ['trainer.dict_size', dict_size, d_sae],
    ['buffer.d_submodule', d_submodule, d_in],
  ];
  for (const [key, value, has] of said) {
    if (value === undefined || value === null || value === has) continue;
    throw refused(
      where,
      `${key} = ${brief(value)} of ${CONFIG}`,
      `${has} in the weights`,
      'check that the two files belong together',
    );
  }
}

/** Entries of the file that are not tensors belong to no class. */
function refuseValues(file: StateDict): void {
  const names = [...file.values.keys()];
  if (names.length === 0) return;
  throw refused(
    file.path,
    'tensors only',
    `also ${names.slice(0, 8).join(', ')}, which would be left out`,
    'save the state dictionary of the dictionary alone',
  );
}

async function checkK(file: StateDict, trainer: Fields, where: string): Promise<void> {
  if (!file.info('k') || typeof trainer.k !== 'number') return;
  const k = await scalar(file, 'k');
  if (k !== trainer.k)
    throw refused(
      where,
      `k = ${trainer.k} of ${CONFIG}`,
      `k = ${k}`,
      'check that the two files belong together',
    );
}
