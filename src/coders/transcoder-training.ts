/**
 * @file Training of transcoders. Whatever trains an autoencoder's activation trains a transcoder's: `activation` chooses it,
 * its settings are those of the autoencoder of that name, and only what rows are to predict is different. SAELens has no
 * training of transcoders at all; sparsify trains TopK and GroupMax ones, circuit-tracer's were made with private code.
 *
 * The default is batchtopk: the number of latents is a setting, and what comes out is a JumpReLU transcoder, which SAELens
 * and circuit-tracer both read.
 */

import { z } from 'zod';
import * as tf from '../tensor/tf.ts';
import { abstopk } from './abstopk.ts';
import type { Architecture, Dimension } from './architecture.ts';
import { batchtopk, exportedAsJumpReLU, fromCheckpoint } from './batchtopk.ts';
import { checkedSettings } from './checked-config.ts';
import { type CoderConfig, coderConfig } from './config.ts';
import { gated } from './gated.ts';
import { groupmax } from './groupmax.ts';
import { jumprelu } from './jumprelu.ts';
import { matryoshkaBatchtopk } from './matryoshka.ts';
import { standard } from './standard.ts';
import { topk } from './topk.ts';
import type { Beginning, InitialTensors, TrainingArchitecture, TrainingCoder } from './training.ts';
import { transcoderName, transcoderSchema, transcoderShapes, transcoders } from './transcoder.ts';

/** The autoencoder that each activation comes from, and the transcoder that comes out: what its name begins with. */
const ACTIVATIONS = {
  batchtopk: { base: batchtopk, exported: 'jumprelu_' },
  topk: { base: topk, exported: 'topk_' },
  matryoshka_batchtopk: { base: matryoshkaBatchtopk, exported: 'jumprelu_' },
  groupmax: { base: groupmax, exported: 'groupmax_' },
  abstopk: { base: abstopk, exported: 'abstopk_' },
  relu: { base: standard, exported: '' },
  jumprelu: { base: jumprelu, exported: 'jumprelu_' },
  gated: { base: gated, exported: 'gated_' },
} as const;
type ActivationName = keyof typeof ACTIVATIONS;
const names = Object.keys(ACTIVATIONS) as [ActivationName, ...ActivationName[]];
const trainingOf = (name: ActivationName): TrainingArchitecture => ACTIVATIONS[name].base.training!;

/** Settings that all activations share. */
const transcoderSettings = {
  /** How latents become active; its settings are those of the autoencoder of that name (relu: standard). */
  activation: z.enum(names).default('batchtopk'),
  /**
   * b_enc at the start. `centre`: the encoder sees rows as if their mean were subtracted, as autoencoders do with b_dec;
   * sparsify's. `zeros`: SAELens's rule for autoencoders.
   */
  b_enc_init: z.enum(['centre', 'zeros']).default('centre'),
};

/** One entry for every setting of any activation: which of them count, and what they may be, `activation` decides. */
const anySetting = Object.fromEntries(
  names.flatMap((name) =>
    Object.keys(trainingOf(name).settings.shape).map((key) => [key, z.unknown().optional()]),
  ),
);

const settings: z.ZodObject = z.object({ ...anySetting, ...transcoderSettings }).check((context) => {
  const given = context.value as Record<string, unknown> & z.infer<z.ZodObject<typeof transcoderSettings>>;
  const { activation, b_enc_init, ...raw } = given;
  const own = trainingOf(activation).settings;
  const set = Object.fromEntries(Object.entries(raw).filter(([, value]) => value !== undefined));
  const stranger = Object.keys(set).find((key) => !(key in own.shape));
  if (stranger !== undefined) {
    const message = `is no setting of activation ${activation}, which has ${Object.keys(own.shape).join(', ')}`;
    context.issues.push({ code: 'custom', input: raw[stranger], path: [stranger], message });
    return;
  }
  const parsed = own.safeParse(set);
  if (parsed.success) context.value = { activation, b_enc_init, ...parsed.data };
  else context.issues.push(...parsed.error.issues.map((issue) => ({ ...issue, input: given }) as never));
});

/** The settings of the activation alone. */
function ownSettings({ activation, b_enc_init, ...own }: Record<string, unknown>): Record<string, unknown> {
  const known = trainingOf(activation as ActivationName).settings.shape;
  return Object.fromEntries(Object.entries(own).filter(([key]) => key in known));
}

/** The activation that cfg.json of a coder in training names; relu in a file of SAELens, which names none. */
function activationOf({ activation }: CoderConfig): ActivationName | undefined {
  return names.find((name) => name === activation);
}

/** Shared tensors with what the activation adds, b_enc where it is to begin, and a skip path that begins with nothing. */
function initialTensors(hasSkip: boolean): NonNullable<TrainingArchitecture['initial']> {
  return (shared, cfg, raw, beginning) => {
    const parsed = checkedSettings(settings, raw) as Record<string, unknown>;
    const training = trainingOf(parsed.activation as ActivationName);
    if (parsed.b_enc_init === 'centre') centre(shared, beginning);
    const tensors = training.initial?.(shared, cfg, ownSettings(parsed), beginning) ?? shared;
    const shape = [cfg.d_out!, cfg.d_in];
    // The gated encoder has two biases instead of one.
    for (const name of ['b_gate', 'b_mag']) tensors[name]?.values.set(shared.b_enc!.values);
    const W_skip = { shape, values: new Float32Array(cfg.d_out! * cfg.d_in) };
    return hasSkip ? { ...tensors, W_skip } : tensors;
  };
}

/** b_enc = -W_enc · mean row: pre-activations as of rows less their mean. */
function centre({ W_enc, b_enc }: InitialTensors, { mean }: Beginning): void {
  const d = mean.length;
  b_enc!.values.forEach((_, latent) => {
    let dot = 0;
    for (let j = 0; j < d; j++) dot += W_enc!.values[latent * d + j]! * mean[j]!;
    b_enc!.values[latent] = -dot;
  });
}

/** The transcoder that leaves training, under the name of its latents. */
function exportedTranscoder(coder: TrainingCoder, hasSkip: boolean) {
  const { activation, ...cfg } = coder.cfg;
  const { exported, base } = ACTIVATIONS[activation as ActivationName];
  const architecture = transcoderName(exported, hasSkip);
  if (base.training!.exported) {
    const out = exportedAsJumpReLU(coder, architecture);
    const { activation: _, ...renamed } = out.cfg;
    return { ...out, cfg: renamed as CoderConfig };
  }
  const parameters = Object.entries(coder.parameters);
  const weights = Object.fromEntries(parameters.map(([name, { value }]) => [name, tf.clone(value)]));
  return { cfg: { ...cfg, architecture } as CoderConfig, weights };
}

/**
 * `transcoder` and `skip_transcoder`: to be loaded as SAELens's classes, with relu latents; in training, and as the
 * checkpoint of a training that has not ended, with the latents that `activation` in cfg.json names.
 */
function trainable(hasSkip: boolean): Architecture {
  const plain = transcoders.find(({ name }) => name === transcoderName('', hasSkip))!;
  const baseOf = (cfg: CoderConfig) => ACTIVATIONS[activationOf(cfg) ?? 'relu'].base;
  const sizes = (cfg: CoderConfig, dimensions: readonly Dimension[]) =>
    dimensions.map((name) => cfg[name] as number);
  return {
    ...plain,
    about: `a transcoder${hasSkip ? ' with an affine skip path' : ''}: reads one activation, predicts another`,
    schema: transcoderSchema(coderConfig.extend({ activation: z.enum(names).optional() })),
    tensors: (cfg) =>
      Object.fromEntries(
        Object.entries(transcoderShapes(baseOf(cfg).shapes, hasSkip)).map(([name, dimensions]) => [
          name,
          sizes(cfg, dimensions),
        ]),
      ),
    create: (cfg, weights) => {
      const { base, exported } = ACTIVATIONS[activationOf(cfg) ?? 'relu'];
      if (base.training!.exported) return fromCheckpoint(cfg, weights, transcoderName(exported, hasSkip));
      const { activation, ...rest } = cfg;
      return base.create(
        { ...(rest as CoderConfig), architecture: transcoderName(exported, hasSkip) },
        weights,
      );
    },
    training: {
      hooks: 'in-out',
      settings,
      coderKeys: ['activation', ...new Set(names.flatMap((name) => trainingOf(name).coderKeys ?? []))],
      decoder_init_norm: 0.1,
      initial: initialTensors(hasSkip),
      create: (cfg, raw, parameters) => {
        const parsed = checkedSettings(settings, raw) as Record<string, unknown>;
        return trainingOf(parsed.activation as ActivationName).create(cfg, ownSettings(parsed), parameters);
      },
      exported: (coder) => exportedTranscoder(coder, hasSkip),
    },
  };
}

export const transcoder = trainable(false);
export const skipTranscoder = trainable(true);
