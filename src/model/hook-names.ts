/**
 * @file The hook points of a GPT-2: TransformerLens 3's names, in the order in which they fire, with their shapes. Four
 * of its settings add hook points or change shapes ({@link HookFlags}). Names of the newer TransformerBridge are left out.
 */
import { UnfoldError } from '../errors.ts';
import type { GPT2Config } from './config.ts';
import { nearestHooks } from './nearest-hooks.ts';

/** TransformerLens's settings of the same names; all off by default. */
export interface HookFlags {
  /** `attn.hook_result`: each head's own output, before b_O. */
  use_attn_result: boolean;
  /** `hook_q_input`, `hook_k_input`, `hook_v_input`: a copy of the residual stream per head; ln1's hooks get a head axis. */
  use_split_qkv_input: boolean;
  /** `hook_attn_in`: one copy per head for all three; read only if the inputs are not split. */
  use_attn_in: boolean;
  /** `hook_mlp_in`: the residual stream before ln2. */
  use_hook_mlp_in: boolean;
}

/** No optional hook points. */
export const defaultFlags: HookFlags = {
  use_attn_result: false,
  use_split_qkv_input: false,
  use_attn_in: false,
  use_hook_mlp_in: false,
};

/** All optional hook points. */
export const allFlags: HookFlags = {
  use_attn_result: true,
  use_split_qkv_input: true,
  use_attn_in: true,
  use_hook_mlp_in: true,
};

/** Hook points of one block in firing order, with the flag that each needs. */
const blockHooks: readonly (readonly [name: string, flag?: keyof HookFlags])[] = [
  ['hook_resid_pre'],
  ['hook_attn_in', 'use_attn_in'],
  ['hook_q_input', 'use_split_qkv_input'],
  ['hook_k_input', 'use_split_qkv_input'],
  ['hook_v_input', 'use_split_qkv_input'],
  ['ln1.hook_scale'],
  ['ln1.hook_normalized'],
  ['attn.hook_q'],
  ['attn.hook_k'],
  ['attn.hook_v'],
  ['attn.hook_attn_scores'],
  ['attn.hook_pattern'],
  ['attn.hook_z'],
  ['attn.hook_result', 'use_attn_result'],
  ['hook_attn_out'],
  ['hook_resid_mid'],
  ['hook_mlp_in', 'use_hook_mlp_in'],
  ['ln2.hook_scale'],
  ['ln2.hook_normalized'],
  ['mlp.hook_pre'],
  ['mlp.hook_post'],
  ['hook_mlp_out'],
  ['hook_resid_post'],
];

/**
 * The edges of the MLP itself, by the names that circuit-tracer adds to TransformerLens: its input behind ln2's weight and
 * bias, and its output (`hook_mlp_out` is the same). They fire for those who ask for them by name, and are in no list.
 */
const mlpEdge = /^blocks\.(\d+)\.mlp\.hook_(?:in|out)$/;

/** True of `blocks.N.mlp.hook_in` and `blocks.N.mlp.hook_out` with a layer below `layers`. */
export function isMlpEdge(name: string, layers: number): boolean {
  const match = mlpEdge.exec(name);
  return match !== null && Number(match[1]) < layers;
}

const embedHooks = ['hook_embed', 'hook_pos_embed'];
const finalHooks = ['ln_final.hook_scale', 'ln_final.hook_normalized', 'unembed.hook_in', 'unembed.hook_out'];

/** Names in firing order, as in the cache of TransformerLens's `run_with_cache`. */
export function hookNames(cfg: GPT2Config, flags: Partial<HookFlags> = {}): string[] {
  const fires = blockHooks.filter(([, flag]) => !flag || flags[flag]).map(([name]) => name);
  const layers = Array.from({ length: cfg.n_layers }, (_, l) => fires.map((name) => `blocks.${l}.${name}`));
  return [...embedHooks, ...layers.flat(), ...finalHooks];
}

/**
 * Shape of an activation for a batch of `batch` inputs of `pos` tokens.
 * @throws UnfoldError `unknown-hook`.
 */
export function hookShape(
  cfg: GPT2Config,
  name: string,
  [batch, pos]: readonly [number, number],
  flags: Partial<HookFlags> = {},
): number[] {
  checkHookName(cfg, name);
  const { n_heads, d_head, d_model, d_mlp, d_vocab } = cfg;
  const kind = name.replace(/^blocks\.\d+\./, '');
  const headAxis = flags.use_attn_in || flags.use_split_qkv_input ? [n_heads] : [];
  switch (kind) {
    case 'hook_attn_in':
    case 'hook_q_input':
    case 'hook_k_input':
    case 'hook_v_input':
    case 'attn.hook_result':
      return [batch, pos, n_heads, d_model];
    case 'ln1.hook_scale':
      return [batch, pos, ...headAxis, 1];
    case 'ln1.hook_normalized':
      return [batch, pos, ...headAxis, d_model];
    case 'ln2.hook_scale':
    case 'ln_final.hook_scale':
      return [batch, pos, 1];
    case 'attn.hook_q':
    case 'attn.hook_k':
    case 'attn.hook_v':
    case 'attn.hook_z':
      return [batch, pos, n_heads, d_head];
    case 'attn.hook_attn_scores':
    case 'attn.hook_pattern':
      return [batch, n_heads, pos, pos];
    case 'mlp.hook_pre':
    case 'mlp.hook_post':
      return [batch, pos, d_mlp];
    case 'unembed.hook_out':
      return [batch, pos, d_vocab];
    default:
      return [batch, pos, d_model];
  }
}

/**
 * Width of one row of an activation as training sees it: everything after batch and position, flattened, as SAELens
 * does with `hook_z` (n_heads * d_head).
 * @throws UnfoldError `unknown-hook`; `bad-hook` for scores and patterns, which have no row per token.
 */
export function hookWidth(cfg: GPT2Config, name: string, flags: Partial<HookFlags> = {}): number {
  const shape = hookShape(cfg, name, [1, 1], flags);
  if (/hook_(attn_scores|pattern)$/.test(name)) {
    throw new UnfoldError('bad-hook', {
      where: name,
      expected: 'a hook point with one vector per token',
      found: 'one number per pair of tokens',
      todo: `choose another hook point, such as ${name.replace(/attn\.hook_.*/, 'attn.hook_z')}`,
    });
  }
  return shape.slice(2).reduce((a, b) => a * b, 1);
}

/** Layer of a hook point, or undefined for the embedding and the final layer norm. */
export function hookLayer(name: string): number | undefined {
  const match = /^blocks\.(\d+)\./.exec(name);
  return match ? Number(match[1]) : undefined;
}

/**
 * The smallest `stopAtLayer` at which all of `names` fire, given by name; undefined if the whole model must run.
 * `blocks.8.hook_resid_pre` needs blocks 0 to 7 only: 8.
 */
export function stopLayerFor(names: readonly string[]): number | undefined {
  let stop = 0;
  for (const name of names) {
    const layer = hookLayer(name);
    if (finalHooks.includes(name)) return undefined;
    if (layer !== undefined) stop = Math.max(stop, name.endsWith('.hook_resid_pre') ? layer : layer + 1);
  }
  return stop;
}

/** The setting that adds this hook point; undefined for those that always fire. */
export function flagOf(name: string): keyof HookFlags | undefined {
  const kind = name.replace(/^blocks\.\d+\./, '');
  return blockHooks.find(([hook]) => hook === kind)?.[1];
}

/** The settings under which all of `names` fire: who names a hook point need not turn it on. */
export function flagsFor(names: readonly string[]): Partial<HookFlags> {
  const flags = names.map(flagOf).filter((flag) => flag !== undefined);
  return Object.fromEntries(flags.map((flag) => [flag, true]));
}

/** Throws unless the model has a hook point `name`; the message has the nearest. @throws UnfoldError `unknown-hook` */
export function checkHookName(cfg: GPT2Config, name: string): void {
  const every = hookNames(cfg, allFlags);
  if (every.includes(name) || isMlpEdge(name, cfg.n_layers)) return;
  throw new UnfoldError('unknown-hook', {
    where: name,
    expected: `a hook point of a GPT-2 of ${cfg.n_layers} layers`,
    found: 'no such name',
    todo: `nearest names: ${nearestHooks(name, every).join(', ')}`,
  });
}
