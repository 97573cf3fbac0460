/**
 * @file Which hook point was meant by a name that is none: by layer first, then by what the name says, whatever the system it
 * comes from (`blocks.2.resid_pre`, `resid_pre.2`, `transformer.h.2.mlp`).
 */
import { nearest } from '../errors.ts';

/** What modules of transformers are called here. */
const MODULES: Readonly<Record<string, string>> = {
  wte: 'hook_embed',
  wpe: 'hook_pos_embed',
  attn: 'hook_attn_out',
  mlp: 'hook_mlp_out',
  ln_1: 'ln1.hook_normalized',
  ln_2: 'ln2.hook_normalized',
  ln_f: 'ln_final.hook_normalized',
  ln_final: 'ln_final.hook_normalized',
  self_attn: 'hook_attn_out',
  residual: 'hook_resid_post',
  resid: 'hook_resid_post',
  residual_stream: 'hook_resid_post',
  input_layernorm: 'ln1.hook_normalized',
  post_attention_layernorm: 'ln2.hook_normalized',
  '': 'hook_resid_post',
};

/** The names nearest to `name`, best first: those of its layer, if it says one that there is. */
export function nearestHooks(name: string, known: readonly string[], count = 3): string[] {
  const layer = layerIn(name);
  const own = known.filter((hook) => layer !== undefined && hook.startsWith(`blocks.${layer}.`));
  const among = own.length > 0 ? own : known;
  const kind = kindIn(name);
  const ranked = nearest(
    kind,
    among.map((hook) => hook.replace(/^blocks\.\d+\./, '')),
    among.length,
  );
  const same = among.filter((hook) => hook.replace(/^blocks\.\d+\./, '') === kind);
  const rest = [...new Set(ranked)].flatMap((other) =>
    among.filter((hook) => hook.replace(/^blocks\.\d+\./, '') === other),
  );
  return [...new Set([...same, ...rest])].slice(0, count);
}

/** `blocks.2.…`, `transformer.h.2`, `layers.2`, `resid_pre.2`, `resid_pre2`. */
function layerIn(name: string): number | undefined {
  const match = /(?:^|\.)(?:blocks?|h|layers?)[._ ](\d+)(?:\.|$)/.exec(name) ?? /[a-z_.](\d+)$/.exec(name);
  return match ? Number(match[1]) : undefined;
}

/** What the name says beside the layer, in the words of the hook points. */
function kindIn(name: string): string {
  const bare = name
    .replace(/^(?:model|transformer)\./, '')
    .replace(/^(?:blocks?|h|layers?)[._ ]\d+(?:\.|$)/, '')
    .replace(/[._]?\d+$/, '');
  const module = MODULES[bare];
  if (module) return module;
  if (bare.includes('hook_')) return bare;
  const parts = bare.split('.');
  return [...parts.slice(0, -1), `hook_${parts.at(-1)}`].join('.');
}
