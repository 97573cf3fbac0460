/** @file The model's kernels (src/tensor/kernels) on backend `native`: layer norm, GELU, causal attention. */
import { CAUSAL_ATTENTION } from '../kernels/causal-attention.ts';
import { GELU, type GeluForm } from '../kernels/gelu.ts';
import { LAYER_NORM, NORMALISE } from '../kernels/layer-norm.ts';
import { LINEAR_GELU } from '../kernels/linear-gelu.ts';
import { PACKED_ATTENTION } from '../kernels/packed-attention.ts';
import { type FastKernel, type KernelTable, sizeOf, type tf } from './native-kernel.ts';

/** Numbers as in elementwise.cc; addBias has numbers of its own (matmul.cc). */
const GELU_NUMBERS: Record<GeluForm, number> = { gelu_new: 13, gelu: 14 };

const layerNorm: FastKernel<{ eps: number }> = ({ inputs, attrs, backend }) => {
  const { x, gamma, beta } = inputs as { x: tf.TensorInfo; gamma?: tf.TensorInfo; beta?: tf.TensorInfo };
  const n = x.shape.at(-1)!;
  const rows = sizeOf(x.shape.slice(0, -1));
  const { info, array } = backend.makeOutputPooled(x.shape, 'float32');
  const weights = [gamma, beta].map((w) => (w ? backend.f32(w) : null));
  backend.addon.layerNorm(backend.f32(x), weights[0]!, weights[1]!, array, null, rows, n, attrs.eps);
  return info;
};

const gelu: FastKernel<{ form: GeluForm }> = ({ inputs, attrs, backend }) => {
  const x = inputs.x!;
  const { info, array } = backend.makeOutputPooled(x.shape, 'float32');
  backend.addon.unary(GELU_NUMBERS[attrs.form], backend.f32(x), array, array.length);
  return info;
};

const causalAttention: FastKernel<{ scale: number }> = ({ inputs, attrs, backend }) => {
  const { q, k, v } = inputs as Record<'q' | 'k' | 'v', tf.TensorInfo>;
  const [batch, queries, heads, dHead] = q.shape as [number, number, number, number];
  const [, keys, , dValue] = v.shape as [number, number, number, number];
  const { info, array } = backend.makeOutputPooled([batch, queries, heads, dValue], 'float32');
  backend.addon.causalAttention(
    backend.f32(q),
    backend.f32(k),
    backend.f32(v),
    array,
    batch,
    queries,
    keys,
    heads,
    dHead,
    dValue,
    attrs.scale,
  );
  return info;
};

const packedAttention: FastKernel<{ heads: number; scale: number }> = ({ inputs, attrs, backend }) => {
  const qkv = inputs.qkv!;
  const { heads, scale } = attrs;
  const [batch, pos, width] = qkv.shape as [number, number, number];
  const dHead = width / (3 * heads);
  const { info, array } = backend.makeOutputPooled([batch, pos, heads, dHead], 'float32');
  backend.addon.packedAttention(backend.f32(qkv), array, batch, pos, heads, dHead, scale);
  return info;
};

const linearGelu: FastKernel<{ form: GeluForm }> = ({ inputs, attrs, backend }) => {
  const { x, W, b } = inputs as Record<'x' | 'W' | 'b', tf.TensorInfo>;
  const [d_in, d_out] = W.shape as [number, number];
  const { info, array } = backend.makeOutputPooled([...x.shape.slice(0, -1), d_out], 'float32');
  const rows = sizeOf(x.shape.slice(0, -1));
  const { addon } = backend;
  addon.matMul(false, false, 1, rows, d_out, d_in, backend.f32(x), 1, backend.f32(W), 1, array);
  addon.addBias(array, backend.f32(b), rows, d_out, attrs.form === 'gelu_new' ? 2 : 3);
  return info;
};

/** Kernels of the model by the names their ops ask for. */
export const modelKernels: KernelTable = {
  [LAYER_NORM]: layerNorm,
  [NORMALISE]: layerNorm,
  [GELU]: gelu,
  [CAUSAL_ATTENTION]: causalAttention,
  [PACKED_ATTENTION]: packedAttention,
  [LINEAR_GELU]: linearGelu,
};
