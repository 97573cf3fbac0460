/**
 * @file OpenAI's `.pt` files (openai/sparse_autoencoder, `model.py`): a state dictionary with pre_bias, latent_bias,
 * encoder.weight [n, d], decoder.weight [d, n], counters, and the name of the activation beside them. TopK implies that
 * rows are layer-normed on the way in and back on the way out (unbiased deviation, 1e-5 added when dividing); without
 * the name of an activation it is a ReLU. Tied decoders are left out.
 */
import { describe } from '../../pickle/rebuild.ts';
import { openStateDict, type StateDict } from '../../pickle/state-dict.ts';
import type { PickleValue } from '../../pickle/values.ts';
import type { CoderFormat, CoderSource } from './format.ts';
import type { Place } from './place.ts';
import { entryOf, refused } from './stored.ts';

const COUNTERS = ['stats_last_nonzero', 'latents_activation_frequency', 'latents_mean_square'];

export const openai: CoderFormat = {
  name: 'openai',
  about: 'OpenAI (openai/sparse_autoencoder): one .pt file with pre_bias and latent_bias',

  async detect(place: Place) {
    if (place.kind !== 'file' || !/\.(pt|pth|bin)$/.test(place.path)) return undefined;
    const file = await openStateDict(place.path);
    await file.close();
    const names = file.names();
    return names.includes('pre_bias') && names.includes('latent_bias')
      ? 'tensors pre_bias and latent_bias'
      : undefined;
  },

  async open(place: Place): Promise<CoderSource> {
    const file = await openStateDict(place.path);
    await file.close();
    const [n = 0, d = 0] = file.info('encoder.weight')?.shape ?? [];
    const activation = activationOf(file, place.path);
    refuseValues(file);
    const entry = await entryOf({
      name: place.name.replace(/\.\w+$/, ''),
      where: place.path,
      cfg: {
        ...activation,
        d_in: d,
        d_sae: n,
        apply_b_dec_to_input: true,
        metadata: {},
      },
      plan: {
        W_enc: { from: 'encoder.weight', dims: ['d_sae', 'd_in'] },
        b_enc: { from: 'latent_bias', dims: ['d_sae'] },
        W_dec: { from: 'decoder.weight', dims: ['d_out', 'd_sae'], transpose: true },
        b_dec: { from: 'pre_bias', dims: ['d_out'] },
      },
      ignored: COUNTERS,
      open: () => openStateDict(place.path),
      notes:
        activation.architecture === 'topk' ? ['TopK: rows are layer-normed, and back at the output'] : [],
    });
    return { format: 'openai', path: place.path, kind: 'coder', entries: [entry] };
  },
};

/** Entries that are not tensors and say nothing that is known. */
function refuseValues(file: StateDict): void {
  const known = ['activation', 'activation_state_dict', 'activation.k', 'activation.postact_fn'];
  const strange = [...file.values.keys()].filter((name) => !known.includes(name));
  if (strange.length === 0) return;
  throw refused(
    file.path,
    `tensors, and ${known.join(', ')}`,
    `also ${strange.slice(0, 8).join(', ')}`,
    'the original refuses such a file, too: its Autoencoder has no such entry',
  );
}

function activationOf(file: StateDict, where: string): Record<string, unknown> & { architecture: string } {
  const name = file.values.get('activation') ?? 'ReLU';
  if (name === 'ReLU') return { architecture: 'standard', normalize_activations: 'none' };
  const state = file.values.get('activation_state_dict');
  const get = (key: string): PickleValue | undefined =>
    (state instanceof Map ? state.get(key) : undefined) ?? file.values.get(`activation.${key}`);
  const k = get('k');
  const after = get('postact_fn');
  if (name === 'TopK' && after === 'ReLU' && typeof k === 'number') {
    return {
      architecture: 'topk',
      k,
      rescale_acts_by_decoder_norm: false,
      normalize_activations: 'layer_norm',
    };
  }
  throw refused(
    where,
    'activation ReLU, or TopK with a number k and ReLU after it',
    `activation ${describe(name)}, k ${describe(k)}, postact_fn ${describe(after)}`,
    'only these two can be computed exactly; the original would take a name it does not know for ReLU',
  );
}
