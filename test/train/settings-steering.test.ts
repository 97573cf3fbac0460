import { describe, expect, it } from 'vitest';
import { resolveSettings } from '../../src/train/settings.ts';
import { isControlled, sparsityOf } from '../../src/train/settings-steering.ts';

const resolve = (raw: Record<string, unknown>) => resolveSettings(raw, 16);

describe('settings that steer a run', () => {
  it.each<[string, Record<string, unknown>, RegExp]>([
    ['a target L0 beside k', { architecture: 'topk', target_l0: 20 }, /k = 100, which is its L0/],
    [
      'a target L0 beside a rule of its own',
      { architecture: 'matching_pursuit', target_l0: 20 },
      /rule of its own/,
    ],
    ['a target L0 above d_sae', { architecture: 'standard', target_l0: 300 }, /at most d_sae = 256/],
    [
      'a target L0 without a coefficient to multiply',
      { architecture: 'standard', target_l0: 20, l1_coefficient: 0 },
      /l1_coefficient[\s\S]*above 0/,
    ],
    [
      'a target L0 with a warm-up over the whole run',
      { architecture: 'jumprelu', target_l0: 20, l0_warm_up_steps: '100%' },
      /at most half the run/,
    ],
    [
      'two names of one warm-up',
      { architecture: 'jumprelu', l0_warm_up_steps: 5, l1_warm_up_steps: 5 },
      /two names/,
    ],
    [
      'a warm-up of sparsity beside k',
      { l1_warm_up_steps: 5, k: 8 },
      /l1_warm_up_steps[\s\S]*coefficient on/,
    ],
    [
      'a warm-up by its other name in a transcoder',
      { architecture: 'transcoder', l0_warm_up_steps: '50%', k: 8 },
      /l0_warm_up_steps alone, which changes nothing/,
    ],
    [
      'a warm-up of sparsity in a pursuit',
      { architecture: 'matching_pursuit', l1_warm_up_steps: 5 },
      /leave l1_warm_up_steps out/,
    ],
    ['k annealing without k', { architecture: 'standard', k_anneal_steps: 10 }, /k that may change/],
    ['k_start below k', { architecture: 'topk', k: 12, k_start: 8, k_anneal_steps: 10 }, /from k = 12/],
    ['k_start alone', { architecture: 'topk', k: 4, k_start: 8 }, /k_anneal_steps beside it/],
    ['a decay of plain Adam', { weight_decay: 0.1, k: 8 }, /adamw/],
    [
      'a schedule for the schedule-free',
      { optimizer: 'schedule_free_adamw', lr_decay_steps: 10, k: 8 },
      /no decay/,
    ],
    [
      'an average of unit rows',
      { optimizer: 'schedule_free_adamw', decoder_unit_norm: true, k: 8 },
      /shorter than 1/,
    ],
    [
      'unit rows that start at 0.1',
      { decoder_unit_norm: true, decoder_init_norm: 0.1, k: 8 },
      /rows are kept at that/,
    ],
    ['unit rows that start at zero', { decoder_unit_norm: true, decoder_init: 'zeros', k: 8 }, /have a norm/],
    [
      'whitening for a transcoder',
      { architecture: 'transcoder', normalize_activations: 'covariance_whitening', k: 8 },
      /reconstructs its own input/,
    ],
    [
      'a tied encoder of a transcoder',
      { architecture: 'transcoder', encoder_init: 'transpose', k: 8 },
      /independent/,
    ],
    ['resampling of a crosscoder', { architecture: 'crosscoder', resample_steps: 10, k: 8 }, /one encoder/],
  ])('refuse %s', (_, raw, message) => {
    expect(() => resolve(raw)).toThrow(message);
  });

  it('fill in what a choice brings with it', () => {
    const free = resolve({ optimizer: 'schedule_free_adamw', k: 8 });
    expect([free.lr_decay_steps, free.lr_warm_up_steps]).toEqual([0, Math.round(free.total_steps / 20)]);
    const target = resolve({ architecture: 'standard', target_l0: 20 });
    expect(target.l1_warm_up_steps).toBe(Math.round(target.total_steps / 20));
    expect(resolve({ architecture: 'jumprelu', l0_warm_up_steps: 7 }).l1_warm_up_steps).toBe(7);
    expect(resolve({ k: 8, k_anneal_steps: '50%' })).toMatchObject({ k_start: 16, k_anneal_steps: 244 });
    expect(resolve({ k: 8, resample_steps: 100 }).resample_dead_steps).toBe(50);
    for (const idle of [{ lr_end: 1e-5 }, { n_restart_cycles: 2 }, { resample_dead_steps: 5 }])
      expect(() => resolve({ k: 8, ...idle })).toThrow(/changes nothing/);
    const cosine = { lr_scheduler_name: 'cosineannealingwarmrestarts', n_restart_cycles: 2, lr_end: 1e-5 };
    expect(() => resolve({ k: 8, ...cosine })).not.toThrow();
  });

  it('leave the target of a quadratic loss to the loss', () => {
    const raw = { architecture: 'jumprelu', target_l0: 20 };
    expect(isControlled(resolve(raw))).toBe(true);
    const quadratic = resolve({ ...raw, jumprelu_sparsity_loss_mode: 'quadratic' });
    expect([isControlled(quadratic), quadratic.coder.target_l0]).toEqual([false, 20]);
    expect(sparsityOf(resolve({ architecture: 'clt', activation: 'jumprelu' }))).toBe('l0');
  });
});
