/**
 * @file The contract of a layout in which coders come: how it is recognised, what is inside, and how it is written. One
 * file each; registry.ts lists them. A layout is recognised by evidence and never guessed: unknown architectures,
 * activations and tensors are refused by name, because a coder read as something else gives plausible nonsense.
 */
import type { Dtype } from '../../model/dtypes.ts';
import type { Coder } from '../base.ts';
import type { CoderConfig } from '../config.ts';
import type { Place } from './place.ts';

/** A tensor as it stands in a file. */
export interface StoredTensor {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
}

/** One coder inside a source, described from headers alone. */
export interface CoderEntry {
  /** What it is asked for by: `layer_2`, `h.2.mlp`, `trainer_0`; the folder's name where there is only one. */
  name: string;
  /** The model layer it belongs to, where the layout says so. */
  layer?: number | undefined;
  /** Settings of the coder that {@link load} returns; `metadata` has its hooks as far as they are known. */
  cfg: CoderConfig;
  /** Files its numbers come from. */
  files: readonly string[];
  tensors: readonly StoredTensor[];
  /** Those of them that say nothing about the result: counters, statistics. */
  unread?: readonly string[];
  /** What was done to bring it into our form: `finetuning_scaling_factor is multiplied into W_dec`. */
  notes: readonly string[];
  /** What its user ought to know: a threshold that is known to be wrong. */
  warnings: readonly string[];
  /** Reads the tensors. The coder belongs to the caller. */
  load(): Promise<Coder>;
}

/** What a path holds. */
export interface CoderSource {
  /** Name of the layout. */
  format: string;
  path: string;
  /** One coder, or several that are asked for by layer, hook or name. */
  kind: 'coder' | 'set';
  entries: readonly CoderEntry[];
  /** What the layout says about all of them: the keys of a config.yaml, for instance. */
  about?: Readonly<Record<string, unknown>>;
}

/** What a reader may be told about files that leave it open. */
export interface OpenOptions {
  /** Name of the layout, where the evidence allows several. */
  format?: string | undefined;
  /**
   * dictionary_learning's BatchTopK and TopK coders: `threshold` (default for BatchTopK), one for all latents; or `topk`
   * (default for TopK), the k largest of each row. Training's rule, the k · rows largest of a batch, is left out: what it
   * gives a row depends on the others.
   */
  rule?: 'threshold' | 'topk' | undefined;
}

/** A coder to be written: what it is called in a set, and its settings before its tensors are read. */
export type WritableCoder = Pick<CoderEntry, 'name' | 'cfg' | 'load'>;

/** What a writer may be told. */
export interface WriteOptions {
  /** Storage type; default: that of the coder. */
  dtype?: 'float32' | 'float16' | 'bfloat16' | undefined;
  /** sparsify: hookpoints instead of those that follow from the hook names. */
  hookpoint?: string | undefined;
  /** circuit-tracer: `scan` of config.yaml. */
  scan?: string | undefined;
}

/** One layout. */
export interface CoderFormat {
  name: string;
  /** One sentence: whose layout, and which versions. */
  about: string;
  /** Why this place is of this layout, in a few words; undefined if it is not. Reads as little as possible. */
  detect(place: Place): Promise<string | undefined>;
  /** Describes what is inside. @throws UnfoldError that names the file and what is wrong with it. */
  open(place: Place, options: OpenOptions): Promise<CoderSource>;
  /**
   * Writes coders in this layout, exactly or not at all, one at a time; absent for layouts that are only read. Whether all
   * of them can be written is settled before the first file.
   * @returns what each coder is called there: the name that `open` gives it
   * @throws UnfoldError `cannot-export` that says what the layout cannot express
   */
  write?(coders: readonly WritableCoder[], dir: string, options: WriteOptions): Promise<string[]>;
}
