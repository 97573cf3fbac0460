/** @file TransformerLens's short names of hook points: `resid_pre` of layer 2 is `blocks.2.hook_resid_pre`. */

const attentionKinds = new Set(['k', 'v', 'q', 'z', 'result', 'pattern', 'attn_scores']);
const aliases: Record<string, string> = {
  attn: 'pattern',
  attn_logits: 'attn_scores',
  key: 'k',
  query: 'q',
  value: 'v',
  mlp_pre: 'pre',
  mlp_post: 'post',
};

/**
 * TransformerLens's `get_act_name`: `actName('resid_pre', 2)`, `actName('q', 0)`, `actName('scale', 3, 'ln1')`,
 * `actName('pre4')`; full names are returned as they are.
 */
export function actName(name: string, layer?: number, layerType = ''): string {
  if (layer === undefined && !layerType && (name.includes('.') || name.startsWith('hook_'))) return name;
  const packed = layer === undefined ? /^([a-z_]+?)(\d+)([a-z]?.*)$/.exec(name) : null;
  if (packed) return actName(packed[1]!, Number(packed[2]), packed[3]);
  const kind = aliases[name] ?? name;
  const types: Record<string, string> = {
    a: 'attn',
    attention: 'attn',
    m: 'mlp',
    b: '',
    block: '',
    blocks: '',
  };
  let part = types[layerType] ?? layerType;
  if (attentionKinds.has(kind)) part = 'attn';
  else if (kind === 'pre' || kind === 'post') part = 'mlp';
  const block = layer === undefined ? '' : `blocks.${layer}.`;
  const final = layer === undefined && (kind === 'scale' || kind === 'normalized') ? 'ln_final.' : '';
  return `${final}${block}${part ? `${part}.` : ''}hook_${kind}`;
}
