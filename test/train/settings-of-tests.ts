/** @file Small runs that use every part of the state: several epochs, dead latents, warm-up, decay, checkpoints. */
import type { TrainSettingsInput } from '../../src/train/settings.ts';

const shared: TrainSettingsInput = {
  d_sae: 48,
  training_tokens: 64 * 40,
  train_batch_size_tokens: 64,
  lr: 5e-3,
  lr_warm_up_steps: 4,
  lr_decay_steps: 8,
  dead_feature_window: 256,
  feature_sampling_window: 640,
  shuffle_buffer_rows: 192,
  checkpoint_every_steps: 3,
  checkpoint_every_minutes: null,
  log_every_steps: 5,
  norm_estimate_rows: 256,
};

export const SETTINGS: Record<'topk' | 'standard', TrainSettingsInput> = {
  topk: { ...shared, architecture: 'topk', k: 3 },
  standard: { ...shared, architecture: 'standard', l1_coefficient: 0.5, l1_warm_up_steps: '50%' },
};
