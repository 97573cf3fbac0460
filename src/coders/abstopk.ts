/**
 * @file The AbsTopK coder (ICLR 2026, arXiv 2510.00404; `sae_lens/saes/abstopk_sae.py`): the k latents of a row that are
 * largest by absolute value, with their signs.
 */

import { z } from 'zod';
import { AbsTopK, absTopKSettings } from './activations/abstopk.ts';
import type { Architecture } from './architecture.ts';
import { checkedConfig, checkedSettings } from './checked-config.ts';
import { saeTrainingCoder } from './sae-training.ts';
import { TopKCoder, topKConfig, topk } from './topk.ts';

/** Inference. */
export class AbsTopKCoder extends TopKCoder {
  protected override get absolute(): boolean {
    return true;
  }
}

const trainingSettings = z.object(absTopKSettings);

export const abstopk: Architecture = {
  ...topk,
  name: 'abstopk',
  about: 'the k latents of a row that are largest by absolute value, with their signs',
  create: (cfg, weights) => new AbsTopKCoder(checkedConfig(topKConfig, cfg), weights),
  training: {
    ...topk.training!,
    settings: trainingSettings,
    create: (cfg, settings, parameters) => {
      const parsed = checkedSettings(trainingSettings, settings);
      return saeTrainingCoder(cfg, parsed, parameters, { activation: new AbsTopK(parsed) });
    },
  },
};
