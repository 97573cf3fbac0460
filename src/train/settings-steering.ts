/**
 * @file What cannot go together among the settings that steer a run: a target L0, optimisers, k schedules, resampling,
 * whitening, starting points. All of it is refused before any work is done.
 */
import type { HookUse } from '../coders/training.ts';
import type { TrainSettings } from './settings.ts';
import { badSetting } from './settings-checks.ts';

/** What a coder's sparsity comes from. */
export type SparsityKind = 'l1' | 'l0' | 'k' | 'own';

/** Where the number of active latents comes from: a coefficient on a loss, a fixed k, or the coder's own rule. */
export function sparsityOf({
  architecture,
  coder,
}: Pick<TrainSettings, 'architecture' | 'coder'>): SparsityKind {
  const activation = typeof coder.activation === 'string' ? coder.activation : architecture;
  if (activation === 'standard' || activation === 'relu' || activation === 'gated') return 'l1';
  if (activation === 'jumprelu') {
    const mode = coder.jumprelu_sparsity_loss_mode;
    return mode === 'quadratic' || mode === 'ratio' ? 'own' : 'l0';
  }
  return typeof coder.k === 'number' ? 'k' : 'own';
}

/** True where target_l0 steers the coefficient; JumpReLU's quadratic and ratio losses have the target in themselves. */
export function isControlled(settings: Pick<TrainSettings, 'architecture' | 'coder' | 'target_l0'>): boolean {
  const kind = sparsityOf(settings);
  return settings.target_l0 != null && (kind === 'l1' || kind === 'l0');
}

/** What else decides about contradictions. */
interface Given {
  /** Of a row. */
  width: number;
  use: HookUse;
  /** Whether the user set it. */
  isSet(key: string): boolean;
}

/** @throws UnfoldError `bad-setting` naming both of two settings that contradict each other */
export function refuseSteering(s: TrainSettings, given: Given): void {
  refuseIdle(s, given);
  refuseTarget(s);
  refuseSchedules(s, given);
  refuseOptimizer(s);
  refuseStart(s, given);
  refuseWhitening(s, given);
}

/** What a warm-up of sparsity warms up. */
const COEFFICIENT =
  'an architecture or activation with a coefficient on sparsity (standard, gated, jumprelu)';

/** Whether a coefficient on a loss, which a warm-up multiplies, decides the number of active latents. */
function hasCoefficient(s: TrainSettings): boolean {
  const isAny = s.coder.l1_coefficient !== undefined || s.coder.l0_coefficient !== undefined;
  return sparsityOf(s) !== 'k' && isAny;
}

/** Settings that were written and change nothing beside the others. */
function refuseIdle(s: TrainSettings, { isSet }: Given): void {
  const idle: readonly (readonly [setting: string, needs: string, isIdle: boolean])[] = [
    ['lr_end', 'lr_scheduler_name: cosineannealing', s.lr_scheduler_name === 'constant'],
    [
      'n_restart_cycles',
      'lr_scheduler_name: cosineannealingwarmrestarts',
      // A pipeline fills in the default.
      s.lr_scheduler_name !== 'cosineannealingwarmrestarts' && s.n_restart_cycles !== 1,
    ],
    ['resample_dead_steps', 'resample_steps', s.resample_steps === null],
    ...(['l1_warm_up_steps', 'l0_warm_up_steps'] as const).map(
      (name) => [name, COEFFICIENT, !hasCoefficient(s) && s.l1_warm_up_steps > 0] as const,
    ),
  ];
  const [setting, needs] = idle.find(([name, , isIdle]) => isIdle && isSet(name)) ?? [];
  if (setting !== undefined)
    throw badSetting(
      setting,
      `${needs} beside it`,
      `${setting} alone, which changes nothing`,
      needs === COEFFICIENT ? `leave ${setting} out` : `set ${needs}, or leave ${setting} out`,
    );
}

function refuseTarget(s: TrainSettings): void {
  if (s.target_l0 == null) return;
  const kind = sparsityOf(s);
  const ownTarget = kind === 'own' && s.coder.target_l0 != null;
  if (kind === 'k' || (kind === 'own' && !ownTarget)) {
    throw badSetting(
      `target_l0 with architecture ${s.architecture}`,
      'a coder whose sparsity comes from a coefficient (standard, gated, jumprelu, or activation relu, jumprelu)',
      kind === 'k' ? `k = ${s.coder.k}, which is its L0` : 'a coder that decides it by a rule of its own',
      kind === 'k' ? 'leave target_l0 out and set k' : 'leave target_l0 out',
    );
  }
  if (s.target_l0 > s.d_sae)
    throw badSetting('target_l0', `at most d_sae = ${s.d_sae}`, `${s.target_l0}`, 'choose a smaller one');
  const coefficient = kind === 'l1' ? 'l1_coefficient' : 'l0_coefficient';
  if (isControlled(s) && s.coder[coefficient] === 0) {
    throw badSetting(
      `target_l0 with ${coefficient}`,
      'a coefficient above 0, which the controller multiplies',
      '0',
      `leave ${coefficient} out`,
    );
  }
  if (isControlled(s) && s.l1_warm_up_steps > s.total_steps / 2) {
    throw badSetting(
      'target_l0 with l1_warm_up_steps',
      `a warm-up of at most half the run (${Math.floor(s.total_steps / 2)} steps): the controller brings L0 down on a path of its own`,
      `${s.l1_warm_up_steps}`,
      'shorten it, or leave it out',
    );
  }
}

function refuseSchedules(s: TrainSettings, { isSet }: Given): void {
  if (s.k_anneal_steps > 0 || isSet('k_start')) {
    const { k } = s.coder;
    if (sparsityOf(s) !== 'k' || typeof k !== 'number' || s.architecture === 'groupmax')
      throw badSetting(
        'k_anneal_steps',
        'a coder with a k that may change (topk, batchtopk, matryoshka_batchtopk, abstopk)',
        s.architecture,
        'leave it out',
      );
    if (s.k_anneal_steps === 0)
      throw badSetting('k_start', 'k_anneal_steps beside it', 'k_start alone', 'set k_anneal_steps: "20%"');
    if (s.k_start < k || s.k_start > s.d_sae)
      throw badSetting(
        'k_start',
        `from k = ${k} to d_sae = ${s.d_sae}`,
        `${s.k_start}`,
        'choose one between',
      );
    if (s.k_anneal_steps > s.total_steps)
      throw badSetting(
        'k_anneal_steps',
        `at most the ${s.total_steps} steps of the run`,
        `${s.k_anneal_steps}`,
        'shorten it',
      );
  }
}

function refuseOptimizer(s: TrainSettings): void {
  if (s.optimizer === 'adam' && s.weight_decay > 0)
    throw badSetting(
      'weight_decay with optimizer adam',
      '0: Adam would divide a decay by its second moments',
      `${s.weight_decay}`,
      'set optimizer: adamw, whose decay is decoupled',
    );
  if (s.optimizer === 'schedule_free_adamw') {
    if (s.lr_decay_steps > 0 || s.lr_scheduler_name !== 'constant')
      throw badSetting(
        'lr_decay_steps and lr_scheduler_name with optimizer schedule_free_adamw',
        'no decay: the average of the steps takes its place',
        s.lr_decay_steps > 0 ? `lr_decay_steps ${s.lr_decay_steps}` : s.lr_scheduler_name,
        'leave them out',
      );
    if (s.adam_beta1 === 0)
      throw badSetting('adam_beta1', 'above 0 where schedule-free', '0', 'leave it out (0.9)');
    if (s.decoder_unit_norm)
      throw badSetting(
        'decoder_unit_norm with optimizer schedule_free_adamw',
        'one of them: an average of rows of norm 1 is shorter than 1',
        'both',
        'use adam or adamw',
      );
  }
  if (s.decoder_unit_norm && s.decoder_init === 'zeros')
    throw badSetting('decoder_unit_norm', 'rows that have a norm', 'decoder_init: zeros', 'leave one out');
}

function refuseStart(s: TrainSettings, { use, isSet }: Given): void {
  if (s.decoder_unit_norm && isSet('decoder_init_norm') && s.decoder_init_norm !== 1)
    throw badSetting(
      'decoder_init_norm with decoder_unit_norm',
      '1: rows are kept at that norm from the start',
      `${s.decoder_init_norm}`,
      'leave decoder_init_norm out',
    );
  if (use !== 'one' && s.encoder_init === 'transpose')
    throw badSetting(
      'encoder_init',
      'independent: the decoder writes to another activation than the encoder reads',
      'transpose',
      'leave it out',
    );
  const special = use.startsWith('several') || s.architecture === 'matching_pursuit';
  const setting = (['encoder_init', 'initial_l0'] as const).find((key) => s[key] !== undefined);
  if (special && setting)
    throw badSetting(setting, 'a coder with one encoder', s.architecture, 'leave it out');
  if (special && s.resample_steps !== null)
    throw badSetting(
      'resample_steps',
      'a coder with one encoder and one decoder',
      s.architecture,
      'leave it out',
    );
  if (s.initial_l0 !== undefined && s.initial_l0 > s.d_sae)
    throw badSetting('initial_l0', `at most d_sae = ${s.d_sae}`, `${s.initial_l0}`, 'choose a smaller one');
}

function refuseWhitening(s: TrainSettings, { use }: Given): void {
  if (s.normalize_activations !== 'covariance_whitening') return;
  if (use !== 'one' || s.architecture === 'matching_pursuit' || s.reshape_activations !== 'none')
    throw badSetting(
      'normalize_activations: covariance_whitening',
      'a coder that reconstructs its own input through an encoder and a decoder of its own',
      s.architecture,
      'use expected_average_only_in',
    );
}
