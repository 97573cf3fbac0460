/**
 * @file Every setting of a training run, under SAELens's names where it has one, with its default and the reason for it;
 * and the one place where settings that contradict each other are refused, before any work is done. An architecture's
 * own settings (`k`, `l1_coefficient`, `aux_…`) are checked by the architecture and stand beside these.
 */
import { z } from 'zod';
import { NORMALIZATIONS } from '../coders/config.ts';
import { architectures, trainableNamed } from '../coders/registry.ts';
import { suggestionFor } from '../other-names.ts';
import { OPTIMIZERS } from './optimizer.ts';
import { LR_SCHEDULES } from './schedule.ts';
import { badSetting, refuseContradictions, refuseForTargets, refuseTwoNames } from './settings-checks.ts';
import { refuseSteering } from './settings-steering.ts';

/** A number of steps, or a share of the run: `500`, `"20%"`. */
const steps = z.union([
  z.int().nonnegative(),
  z.string().regex(/^\d+(\.\d+)?%$/, 'a number of steps, or a share such as "20%"'),
]);
const count = z.int().positive();
const beta = z.number().min(0).lt(1);

/** The settings that all architectures share. */
export const trainSettings = z.object({
  architecture: z.string().default('topk'),
  /** Hook whose rows are coded; may be left out where the rows have only one. */
  hook_name: z.string().optional(),
  /** Hook that is predicted from it (transcoders). */
  hook_name_out: z.string().optional(),
  /** Hooks that are coded together (crosscoders), or each layer's input (cross-layer transcoders). */
  hook_names: z.array(z.string()).min(1).optional(),
  /** Each layer's target (cross-layer transcoders), as many as inputs. */
  hook_names_out: z.array(z.string()).min(1).optional(),
  /** Latents. 16 a dimension unless set: enough to be useful, small enough for a laptop. */
  d_sae: count.optional(),
  /** SAELens's default. */
  training_tokens: count.default(2_000_000),
  /** SAELens's default; large batches keep Adam's moments of rare latents meaningful. */
  train_batch_size_tokens: count.default(4096),
  /** SAELens's default, for batches of 4096; small dictionaries take ten times more. */
  lr: z.number().positive().default(3e-4),
  /** Where a cosine ends: lr / 10 unless set, as in SAELens. */
  lr_end: z.number().nonnegative().optional(),
  lr_scheduler_name: z.enum(LR_SCHEDULES).default('constant'),
  /** None, as in SAELens: warm-up changes little at these rates; 5% for the schedule-free optimiser, whose authors want it. */
  lr_warm_up_steps: steps.optional(),
  /** The last fifth: a linear decay is worth about as much as doubling the tokens (Anthropic, April 2024); 0 if schedule-free. */
  lr_decay_steps: steps.optional(),
  n_restart_cycles: count.default(1),
  adam_beta1: beta.default(0.9),
  adam_beta2: beta.default(0.999),
  adam_eps: z.number().positive().default(1e-8),
  /** adam; adamw (decoupled decay); schedule_free_adamw, which averages its steps instead of lowering lr (Defazio et al. 2024). */
  optimizer: z.enum(OPTIMIZERS).default('adam'),
  /** Decay of encoder, decoder and skip matrices; biases and thresholds do not decay. 0: decay also pulls at dead latents. */
  weight_decay: z.number().nonnegative().default(0),
  /** Keeps decoder rows at norm 1: gradient off the rows, clipping, Adam, normalising (OpenAI; dictionary_learning). */
  decoder_unit_norm: z.boolean().default(false),
  /** Global-norm clipping, which SAELens has built in; null switches it off. */
  max_grad_norm: z.number().positive().nullable().default(1),
  /** Steps over which the sparsity coefficient rises from 0: none, as in SAELens; 5% with target_l0, which then sees it coming. */
  l1_warm_up_steps: steps.optional(),
  /** SAELens's name for the same in JumpReLU coders. */
  l0_warm_up_steps: steps.optional(),
  /** Mean number of active latents a row to end at: steers the sparsity coefficient (controller.ts) from wherever it is set. */
  target_l0: z.number().positive().nullish(),
  /** Steps over which the k of a top-k coder comes down from k_start (dictionary_learning, sparsify): fewer dead latents. */
  k_anneal_steps: steps.default(0),
  /** Active latents a row at the beginning of that; the width of a row unless set, as in dictionary_learning. */
  k_start: count.optional(),
  /** Steps between resamplings of dead latents (Bricken et al. 2023); none unless set: AuxK wastes less. */
  resample_steps: steps.nullable().default(null),
  /** Steps without firing that make a latent worth resampling; half of resample_steps unless set, as in dictionary_learning. */
  resample_dead_steps: count.optional(),
  /** Scales rows to mean norm sqrt(d) and folds the scale into the exported weights: rates and coefficients then transfer. */
  normalize_activations: z.enum(NORMALIZATIONS).default('expected_average_only_in'),
  /** Rows whose mean norm gives that scale; they are read without being used up. */
  norm_estimate_rows: count.default(65_536),
  /** Whether the encoder sees x - b_dec; true unless set for coders of one hook, and impossible where the output is another activation. */
  apply_b_dec_to_input: z.boolean().optional(),
  reshape_activations: z.enum(['none', 'hook_z']).default('none'),
  /** Norm of decoder rows at the start; the architecture's default unless set. The encoder starts as its transpose. */
  decoder_init_norm: z.number().positive().optional(),
  /** transpose: the decoder's (not for transcoders, which start independently); independent: random directions of their own. */
  encoder_init: z.enum(['transpose', 'independent']).optional(),
  /** zeros: the coder starts as its bias, and the decoder learns from the encoder's directions (sparsify's transcoders). */
  decoder_init: z.enum(['random', 'zeros']).default('random'),
  /** Lowers each latent's encoder bias until all together are active this often on the first rows (CLT-Forge): a sparse start. */
  initial_l0: z.number().positive().optional(),
  /** The geometric median of first rows (Anthropic; OpenAI; dictionary_learning): latents need not learn the mean. */
  b_dec_init: z.enum(['zeros', 'mean', 'geometric_median']).default('geometric_median'),
  /** A latent is dead when it has not been active for more than this many tokens (or steps, see the unit). */
  dead_feature_window: count.optional(),
  /** SAELens counts steps, so that its window means something else at every batch size. */
  dead_feature_window_unit: z.enum(['tokens', 'steps']).default('tokens'),
  /** Tokens whose firing rates go into sparsity.safetensors: the last one to two of these windows. */
  feature_sampling_window: count.default(1_000_000),
  seed: z.int().nonnegative().default(42),
  /** Seed of the order of rows; `seed`, which draws the weights, unless set. */
  data_seed: z.int().nonnegative().optional(),
  /** Rows after the trained ones on which thresholds are settled at the end (BatchTopK); as many as give the mean of L0 to 1%. */
  calibration_rows: count.default(65_536),
  /** Rows that the shuffle holds in memory. */
  shuffle_buffer_rows: count.optional(),
  /** Storage of the exported weights; training is in float32. */
  dtype: z.enum(['float32', 'float16', 'bfloat16']).default('float32'),
  /** Moves decoder norms into the encoder on export, where that is exact: activations in units of output. */
  fold_decoder_norms: z.boolean().default(true),
  /** Checkpoints at equal distances that are kept. */
  n_checkpoints: z.int().nonnegative().default(0),
  /** Checkpoints to resume from; the last two are kept. */
  checkpoint_every_minutes: z.number().positive().nullable().default(5),
  checkpoint_every_steps: count.nullable().default(null),
  /** Steps between lines of metrics.jsonl. */
  log_every_steps: count.default(20),
});

/** As a user writes them: architecture settings beside the shared ones. */
export type TrainSettingsInput = z.input<typeof trainSettings> & Record<string, unknown>;

type Shared = z.infer<typeof trainSettings>;

/** Settings with every default filled in and every share of the run turned into steps. */
export interface TrainSettings
  extends Omit<
    Shared,
    | 'lr_warm_up_steps'
    | 'lr_decay_steps'
    | 'l1_warm_up_steps'
    | 'l0_warm_up_steps'
    | 'k_anneal_steps'
    | 'resample_steps'
  > {
  d_sae: number;
  lr_end: number;
  decoder_init_norm: number;
  apply_b_dec_to_input: boolean;
  data_seed: number;
  dead_feature_window: number;
  lr_warm_up_steps: number;
  lr_decay_steps: number;
  l1_warm_up_steps: number;
  k_anneal_steps: number;
  k_start: number;
  resample_steps: number | null;
  resample_dead_steps: number;
  total_steps: number;
  /** The architecture's own, checked and with defaults. */
  coder: Record<string, unknown>;
}

/** Names of the settings of an architecture, shared ones included. */
export function settingNames(architecture: string): string[] {
  const { training } = trainableNamed(architecture, 'architecture');
  return [...Object.keys(trainSettings.shape), ...Object.keys(training.settings.shape)];
}

/**
 * Checks settings and fills in defaults.
 * @param width of a row, for the default of `d_sae`
 * @throws UnfoldError `bad-setting` that names the setting, or both of two that contradict each other
 */
export function resolveSettings(raw: Record<string, unknown>, width: number): TrainSettings {
  const name = typeof raw.architecture === 'string' ? raw.architecture : trainSettings.parse({}).architecture;
  const { training } = trainableNamed(name, 'architecture');
  refuseUnknown(raw, name);
  const shared = checked(trainSettings, pick(raw, Object.keys(trainSettings.shape)));
  const coder = checked(training.settings, pick(raw, Object.keys(training.settings.shape)));
  const total = Math.max(1, Math.floor(shared.training_tokens / shared.train_batch_size_tokens));
  refuseTwoNames(raw, 'l1_warm_up_steps', 'l0_warm_up_steps');
  const { l0_warm_up_steps, ...others } = shared;
  const isScheduleFree = shared.optimizer === 'schedule_free_adamw';
  const warmUp = shared.l1_warm_up_steps ?? l0_warm_up_steps ?? (shared.target_l0 ? '5%' : 0);
  const resample_steps =
    shared.resample_steps === null ? null : Math.max(1, inSteps(shared.resample_steps, total));
  const settings: TrainSettings = {
    ...others,
    d_sae: shared.d_sae ?? 16 * width,
    lr_end: shared.lr_end ?? shared.lr / 10,
    decoder_init_norm: shared.decoder_init_norm ?? training.decoder_init_norm,
    apply_b_dec_to_input: shared.apply_b_dec_to_input ?? (training.hooks ?? 'one') === 'one',
    data_seed: shared.data_seed ?? shared.seed,
    dead_feature_window: shared.dead_feature_window ?? defaultDeadWindow(shared.training_tokens),
    lr_warm_up_steps: inSteps(shared.lr_warm_up_steps ?? (isScheduleFree ? '5%' : 0), total),
    lr_decay_steps: inSteps(shared.lr_decay_steps ?? (isScheduleFree ? 0 : '20%'), total),
    l1_warm_up_steps: inSteps(warmUp, total),
    k_anneal_steps: inSteps(shared.k_anneal_steps, total),
    k_start: shared.k_start ?? Math.min(width, shared.d_sae ?? 16 * width),
    resample_steps,
    resample_dead_steps: shared.resample_dead_steps ?? Math.ceil((resample_steps ?? 1) / 2),
    total_steps: total,
    coder,
  };
  refuseContradictions(settings);
  refuseSteering(settings, { width, use: training.hooks ?? 'one', isSet: (key) => raw[key] !== undefined });
  refuseForTargets(settings, training.hooks ?? 'one');
  return settings;
}

/** 10M tokens as in OpenAI's and EleutherAI's trainers, but a twentieth of short runs, which would end before. */
function defaultDeadWindow(tokens: number): number {
  return Math.max(1, Math.min(10_000_000, Math.floor(tokens / 20)));
}

function inSteps(value: number | string, total: number): number {
  return typeof value === 'number' ? value : Math.round((Number.parseFloat(value) / 100) * total);
}

function pick(raw: Record<string, unknown>, names: string[]): Record<string, unknown> {
  return Object.fromEntries(names.filter((name) => raw[name] !== undefined).map((name) => [name, raw[name]]));
}

/** "belongs to topk, batchtopk": where the setting is one of other architectures. */
export function homeOf(setting: string): string | undefined {
  const homes = architectures.filter(({ training }) => training && setting in training.settings.shape);
  if (homes.length === 0) return undefined;
  return `it belongs to ${homes.map(({ name }) => name).join(', ')}: set architecture, or leave it out`;
}

function refuseUnknown(raw: Record<string, unknown>, architecture: string): void {
  const known = settingNames(architecture);
  const unknown = Object.keys(raw).find((name) => raw[name] !== undefined && !known.includes(name));
  if (unknown === undefined) return;
  throw badSetting(
    unknown,
    `a setting of ${architecture} training`,
    'a name that is none',
    homeOf(unknown) ?? suggestionFor(unknown, known),
  );
}

function checked<T>(schema: z.ZodType<T>, raw: Record<string, unknown>): T {
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const setting = issue.path.join('.');
  throw badSetting(setting, issue.message, JSON.stringify(raw[setting]) ?? 'nothing', `change ${setting}`);
}
