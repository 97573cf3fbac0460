/**
 * @file What every evaluation metric is, in one place: the text that stands in evaluation.json, in the table of
 * `unfold evaluate` and in the docs. Notation: x is what is to be reconstructed (a row of the hook the coder writes to),
 * xhat its reconstruction, a the latents' activations, d the width, sums over d unless said. "Counted" positions are
 * those not excluded (special tokens, positions outside seqpos_slice). Names follow SAELens; where its definition
 * depends on how the data were cut into batches, ours does not and the original stands beside it as `…_legacy`.
 */

/** One metric: `meaning` for a newcomer, `definition` for someone who wants to recompute it. */
export interface MetricDefinition {
  group: 'sparsity' | 'reconstruction' | 'shrinkage' | 'model' | 'latents';
  meaning: string;
  definition: string;
}

/** Every metric of {@link Metrics}, in the order in which tables show them. */
export const metricDefinitions = {
  ce_loss_score: {
    group: 'model',
    meaning:
      'share of the loss that survives the splice (1 = model unharmed, 0 = as bad as zeroing the hook)',
    definition: '(ce_loss_with_ablation - ce_loss_with_sae) / (ce_loss_with_ablation - ce_loss_without_sae)',
  },
  ce_loss_score_mean_ablation: {
    group: 'model',
    meaning: 'the same against a kinder floor: the hook replaced by its mean',
    definition:
      '(ce_loss_with_mean_ablation - ce_loss_with_sae) / (ce_loss_with_mean_ablation - ce_loss_without_sae)',
  },
  ce_loss_without_sae: {
    group: 'model',
    meaning: "the untouched model's loss, nats a token",
    definition: 'mean of -log p(next token) over counted positions that have a next token',
  },
  ce_loss_with_sae: {
    group: 'model',
    meaning: 'its loss with the reconstruction in place of the activation',
    definition:
      'the same mean with the hook replaced by xhat at every counted position; excluded positions keep their activation',
  },
  ce_loss_with_ablation: {
    group: 'model',
    meaning: 'its loss with the hook set to zero',
    definition: 'the same mean with the hook replaced by 0 at EVERY position, excluded ones too (as SAELens)',
  },
  ce_loss_with_mean_ablation: {
    group: 'model',
    meaning: 'its loss with the hook set to its mean',
    definition:
      'the same mean with the hook replaced at every counted position by the mean of x over the counted positions evaluated',
  },
  kl_div_score: {
    group: 'model',
    meaning: 'share of the predicted distribution that survives the splice (1 = unchanged)',
    definition: '(kl_div_with_ablation - kl_div_with_sae) / kl_div_with_ablation',
  },
  kl_div_with_sae: {
    group: 'model',
    meaning: 'how far the splice moves the prediction, nats a token',
    definition: 'mean over counted positions (the last included) of KL(model || model with xhat spliced in)',
  },
  kl_div_with_ablation: {
    group: 'model',
    meaning: 'how far zeroing the hook moves it',
    definition: 'mean over counted positions (the last included) of KL(model || model with the hook at 0)',
  },
  explained_variance: {
    group: 'reconstruction',
    meaning: 'share of the variance the coder reproduces (1 = perfect, 0 = no better than the mean)',
    definition:
      '1 - sum ||x - xhat||^2 / sum ||x - mean x||^2, sums and mean over all counted rows (pooled, float64)',
  },
  explained_variance_legacy: {
    group: 'reconstruction',
    meaning: 'the older definition, as in reports before 2026',
    definition:
      'mean over rows of 1 - ||x - xhat||^2 / ||x - m||^2, m = mean of x over the evaluation batch of the row (batch_contexts contexts)',
  },
  fvu: {
    group: 'reconstruction',
    meaning: 'share of the variance the coder misses',
    definition: '1 - explained_variance',
  },
  mse: {
    group: 'reconstruction',
    meaning: 'squared error of a row',
    definition: 'mean over rows of ||x - xhat||^2 (SUM over d, not mean)',
  },
  cossim: {
    group: 'reconstruction',
    meaning: 'cosine between activation and reconstruction',
    definition: 'mean over rows of <x, xhat> / (||x|| ||xhat||); 0 for a row where a norm is 0',
  },
  l2_norm_in: {
    group: 'shrinkage',
    meaning: 'typical length of a row',
    definition: 'mean over rows of ||x||',
  },
  l2_norm_out: {
    group: 'shrinkage',
    meaning: 'typical length of its reconstruction',
    definition: 'mean over rows of ||xhat||',
  },
  l2_ratio: {
    group: 'shrinkage',
    meaning: 'length of the reconstruction relative to the original (below 1 = shrinkage)',
    definition: 'mean over rows of ||xhat|| / ||x||, ||x|| taken as 1 where it is below 1e-4',
  },
  relative_reconstruction_bias: {
    group: 'shrinkage',
    meaning: 'systematic over- or under-shooting (1 = none)',
    definition: 'sum ||xhat||^2 / sum <x, xhat>, sums over all counted rows (pooled)',
  },
  relative_reconstruction_bias_legacy: {
    group: 'shrinkage',
    meaning: 'the same averaged over batches, as SAELens computes it',
    definition: 'plain mean over evaluation batches of mean ||xhat||^2 / mean <x, xhat>',
  },
  l0: {
    group: 'sparsity',
    meaning: 'latents active on a token, on average',
    definition: 'mean over rows of the number of a != 0',
  },
  l1: {
    group: 'sparsity',
    meaning: 'total activation of a token, on average',
    definition: 'mean over rows of sum |a|',
  },
  n_dead: {
    group: 'latents',
    meaning: 'latents that never fired on the evaluated tokens',
    definition: 'number of latents with a = 0 on all counted rows',
  },
  frac_alive: {
    group: 'latents',
    meaning: 'share of latents that fired at least once',
    definition: '1 - n_dead / d_sae',
  },
  n_dense_over_1_percent: {
    group: 'latents',
    meaning: 'latents active on more than 1% of tokens',
    definition: 'number of latents with density (share of counted rows with a != 0) > 0.01',
  },
  n_dense_over_10_percent: {
    group: 'latents',
    meaning: 'latents active on more than 10% of tokens (rarely readable)',
    definition: 'number of latents with density > 0.1',
  },
  freq_over_1_percent: {
    group: 'latents',
    meaning: 'the same as a share of all latents',
    definition: 'n_dense_over_1_percent / d_sae (as SAEBench)',
  },
  freq_over_10_percent: {
    group: 'latents',
    meaning: 'the same as a share of all latents',
    definition: 'n_dense_over_10_percent / d_sae (as SAEBench)',
  },
} as const satisfies Record<string, MetricDefinition>;

/** A metric's name. */
export type MetricName = keyof typeof metricDefinitions;

/** Metrics by name; those that were not computed (no model given, no rows) are absent. */
export type Metrics = Partial<Record<MetricName, number>>;

/** Names in table order. */
export const metricNames = Object.keys(metricDefinitions) as MetricName[];

/** The definitions of the metrics present, for a file that explains itself. */
export function definitionsOf(metrics: Metrics): Record<string, string> {
  const present = metricNames.filter((name) => metrics[name] !== undefined);
  return Object.fromEntries(present.map((name) => [name, metricDefinitions[name].definition]));
}
