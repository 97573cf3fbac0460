/**
 * @file The types of what src/tensor/native/coder_*.cc exports: the kernels that coders train on. Weights are
 * feature-major. Indices are checked against F; a wrong one throws.
 */

/** Lists of equal length, one entry a term, and an Int32Array with B and k of each: see kernels/scatter-terms.ts. */
type Terms = [indices: Int32Array[], coefficients: Float32Array[], rows: Float32Array[], shapes: Int32Array];

/** Six numbers: kernels/adam.ts's AdamAttrs in this order. */
type AdamNumbers = [
  beta1: number,
  beta2: number,
  eps: number,
  gradScale: number,
  stepSize: number,
  rootCorrection: number,
];

/** coder_encode.cc, coder_sparse.cc, coder_scatter.cc */
export interface CoderAddon {
  encodeTopK(
    x: Float32Array,
    W: Float32Array,
    b: Float32Array,
    scale: Float32Array | null,
    subset: Int32Array | null,
    B: number,
    F: number,
    d: number,
    k: number,
    values: Float32Array,
    indices: Int32Array,
  ): void;
  sparseDecode(
    values: Float32Array,
    indices: Int32Array,
    W: Float32Array,
    bias: Float32Array | null,
    B: number,
    k: number,
    F: number,
    d: number,
    out: Float32Array,
  ): void;
  sparseDots(
    rows: Float32Array,
    indices: Int32Array,
    W: Float32Array,
    B: number,
    k: number,
    F: number,
    d: number,
    out: Float32Array,
  ): void;
  scatterGrad(...args: [...Terms, F: number, d: number, out: Float32Array]): void;
  scatterNormSquared(
    ...args: [...Terms, F: number, d: number, W: Float32Array | null, selfGrad: Float32Array | null]
  ): number;
  scatterAdam(
    ...args: [
      ...Terms,
      F: number,
      d: number,
      W: Float32Array,
      m: Float32Array,
      v: Float32Array,
      selfGrad: Float32Array | null,
      ...AdamNumbers,
    ]
  ): void;
  scatterBias(...args: [...Terms, F: number, out: Float32Array]): void;
  adam(
    ...args: [
      param: Float32Array,
      m: Float32Array,
      v: Float32Array,
      grad: Float32Array,
      n: number,
      ...AdamNumbers,
    ]
  ): void;
}
