/**
 * @file The types of what src/tensor/native/*.cc exports, one interface per C++ file. Arguments are checked there: a
 * wrong type or a short array throws, never reads beyond. All matrices are row-major float32.
 */

/** blas.cc, parallel.cc */
export interface BlasAddon {
  threads(): number;
  threadRuntime(): string;
  /** Lines `name\tversion`. */
  blasLibraries(): string;
  /** `name\twhy`. */
  blasChosen(): string;
  /** C (+)= op(A)·op(B); `library` is one of {@link blasLibraries}, default the chosen one. */
  sgemm(
    transA: boolean,
    transB: boolean,
    m: number,
    n: number,
    k: number,
    a: Float32Array,
    lda: number,
    b: Float32Array,
    ldb: number,
    c: Float32Array,
    ldc: number,
    accumulate?: boolean,
    library?: string,
  ): void;
}

/** Everything the addon exports. Kernels of one area declare their own interface and are added here. */
export interface NativeAddon extends BlasAddon {}
