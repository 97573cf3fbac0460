/**
 * @file sparsify's layout (EleutherAI, 1.x): a folder a hookpoint with `cfg.json` (a SparseCoderConfig and d_in) and
 * `sae.safetensors`. Both directions. b_dec is subtracted from the input unless the coder is a transcoder; `multi_topk`
 * and `normalize_decoder` matter in training only; `num_latents: 0` means d_in × expansion_factor. The cross-layer
 * variants of its fork clt-training are left out.
 */
import { join, resolve, sep } from 'node:path';
import { z } from 'zod';
import { UnfoldError } from '../../errors.ts';
import { openSafetensors } from '../../model/safetensors.ts';
import type { CoderFormat, CoderSource } from './format.ts';
import { hooksOfHookpoint, parseHookpoint } from './hookpoints.ts';
import { heedKeys, type KeyTable, off, strangeFiles } from './keys.ts';
import { type Fields, Place } from './place.ts';
import { writeSparsify } from './sparsify-write.ts';
import { entryOf, type StoredCoder } from './stored.ts';

export const SPARSIFY_CFG = 'cfg.json';
export const SPARSIFY_WEIGHTS = 'sae.safetensors';

const settings = z.looseObject({
  activation: z.enum(['topk', 'groupmax']).default('topk'),
  d_in: z.int().positive(),
  expansion_factor: z.int().positive().default(32),
  num_latents: z.int().nonnegative().default(0),
  k: z.int().positive().default(32),
  skip_connection: z.boolean().default(false),
  transcode: z.boolean().default(false),
});

/** cfg.json. The newest loader drops what it does not know; the keys of older versions and of forks that computed otherwise are refused. */
export const SPARSIFY_KEYS: KeyTable = {
  whose: 'a sparsify coder',
  used: Object.keys(settings.shape),
  neutral: [
    'normalize_decoder',
    'multi_topk',
    'init_enc_as_dec_transpose',
    'tp_output',
    'divide_cross_layer',
  ],
  refused: {
    signed: off('latents chosen by size, with their signs'),
    normalize_io: off('rows scaled on the way in and back on the way out'),
    post_encoder_scale: off('activations scaled by learnt factors'),
    train_post_encoder: off('activations scaled by learnt factors'),
    per_source_tied: off('a cross-layer coder'),
    n_targets: off('a cross-layer coder'),
    n_sources: off('a cross-layer coder'),
    coalesce_topk: { harmless: ['none', null, false], means: 'a cross-layer coder' },
    topk_coalesced: off('a cross-layer coder'),
    use_fp8: off('numbers of 8 bits'),
    encoder_halut: off('an encoder by table look-up'),
  },
};

/** The name of the architecture that computes what a sparsify coder does. */
export function sparsifyArchitecture(activation: string, transcode: boolean, skip: boolean): string {
  return `${activation}${skip ? '_skip' : ''}${transcode || skip ? '_transcoder' : ''}`;
}

export const sparsify: CoderFormat = {
  name: 'sparsify',
  about: 'sparsify 1.x (EleutherAI): a folder a hookpoint with cfg.json and sae.safetensors',

  async detect(place: Place) {
    if (!place.names.has(SPARSIFY_WEIGHTS)) return undefined;
    return place.names.has(SPARSIFY_CFG) ? `${SPARSIFY_CFG} and ${SPARSIFY_WEIGHTS}` : SPARSIFY_WEIGHTS;
  },

  async open(place: Place): Promise<CoderSource> {
    const entry = await entryOf(await storedCoder(place));
    return { format: 'sparsify', path: place.path, kind: 'coder', entries: [entry] };
  },

  write: writeSparsify,
};

async function storedCoder(place: Place): Promise<StoredCoder> {
  const where = place.join(SPARSIFY_CFG);
  const cfg = await parsed(place, where);
  const hookpoint = hookpointName(place);
  const warnings = heedKeys(cfg, SPARSIFY_KEYS, where);
  const d_sae = cfg.num_latents || cfg.d_in * cfg.expansion_factor;
  const weights = join(place.path, SPARSIFY_WEIGHTS);
  // With a skip connection but as an autoencoder, b_dec is subtracted and the skip sees the plain input.
  if (cfg.skip_connection && !cfg.transcode)
    throw new UnfoldError('unknown-architecture', {
      where,
      expected: 'skip_connection with transcode: true',
      found: 'a skip connection around an autoencoder',
      todo: 'there is no such architecture here: an autoencoder with a skip connection can copy its input',
    });
  return {
    name: hookpoint,
    layer: parseHookpoint(hookpoint)?.layer,
    where,
    cfg: {
      architecture: sparsifyArchitecture(cfg.activation, cfg.transcode, cfg.skip_connection),
      d_in: cfg.d_in,
      d_sae,
      ...(cfg.transcode && { d_out: cfg.d_in }),
      k: cfg.k,
      rescale_acts_by_decoder_norm: false,
      apply_b_dec_to_input: !cfg.transcode,
      normalize_activations: 'none',
      metadata: {
        ...hooksOfHookpoint(hookpoint, cfg.transcode),
        sparsify_hookpoint: hookpoint,
        ...(await trainedOn(place)),
      },
    },
    plan: {
      W_enc: { from: 'encoder.weight', dims: ['d_sae', 'd_in'] },
      b_enc: { from: 'encoder.bias', dims: ['d_sae'] },
      W_dec: { from: 'W_dec', dims: ['d_sae', 'd_out'] },
      b_dec: { from: 'b_dec', dims: ['d_out'] },
      ...(cfg.skip_connection && { W_skip: { from: 'W_skip', dims: ['d_out', 'd_in'] } }),
    },
    open: () => openSafetensors(weights),
    warnings: [...warnings, ...strangeFiles(place.names, (name) => OWN_FILES.includes(name))],
    notes: cfg.num_latents ? [] : [`num_latents 0: d_in × expansion_factor = ${d_sae} latents`],
  };
}

/** Beside the weights: the optimiser's states, which say nothing about the coder. */
const OWN_FILES = [SPARSIFY_WEIGHTS, 'optimizer.pt', 'lr_scheduler.pt', 'state.pt'];

const run = z.looseObject({
  sae: z.looseObject({}),
  ctx_len: z.int().positive().optional().catch(undefined),
  exclude_tokens: z.array(z.int().nonnegative()).optional().catch(undefined),
});

/** What config.json of the run, above the hookpoint, says of the rows: the length of contexts, and tokens left out. */
async function trainedOn(place: Place): Promise<Fields> {
  const up = /^seed\d+$/.test(place.name) ? ['..', '..'] : ['..'];
  const above = await Place.at(place.join(...up));
  if (above.kind !== 'folder') return {};
  const { ctx_len, exclude_tokens } = run.safeParse(await above.json('config.json')).data ?? {};
  return {
    ...(ctx_len && { context_size: ctx_len }),
    ...(exclude_tokens?.length && { exclude_special_tokens: exclude_tokens }),
  };
}

async function parsed(place: Place, where: string): Promise<z.infer<typeof settings>> {
  const result = settings.safeParse(await place.json(SPARSIFY_CFG));
  if (result.success) return result.data;
  throw new UnfoldError('bad-coder', {
    where,
    expected: 'the settings of a sparsify coder: activation, k, d_in, …',
    found: z.prettifyError(result.error).replaceAll('\n', ' '),
    todo: 'mend the named settings',
  });
}

/** The folder's name; with several seeds the hookpoint is the folder above. */
function hookpointName(place: Place): string {
  const parts = resolve(place.path).split(sep).filter(Boolean);
  return /^seed\d+$/.test(place.name) && parts.length > 1 ? parts.at(-2)! : place.name;
}
