/** @file A set of coders as one object: transcoders of all layers, the hookpoints of a sparsify run, a sweep. */

import { UnfoldError } from '../../errors.ts';
import type { Coder } from '../base.ts';
import { type Choice, chosenEntries, hooksOf } from './choose.ts';
import type { CoderSource, OpenOptions } from './format.ts';
import { openCoders } from './registry.ts';

/** Loaded coders in the order of their source, by place, name or layer. */
export class CoderSet implements Iterable<Coder> {
  /** Name of the layout they came in. */
  readonly format: string;
  /** Names in the source: `layer_0`, `h.2`, the names of a sweep. */
  readonly names: readonly string[];
  /** Model layer of each; undefined where the source does not say. */
  readonly layers: readonly (number | undefined)[];
  /** Hooks that each reads and writes, as far as the source names them. */
  readonly hooks: readonly (readonly string[])[];
  readonly coders: readonly Coder[];
  /** What the source says about all: the keys of a config.yaml. */
  readonly about: Readonly<Record<string, unknown>>;

  constructor(source: CoderSource, coders: readonly Coder[]) {
    this.format = source.format;
    this.names = source.entries.map(({ name }) => name);
    this.layers = source.entries.map(({ layer }) => layer);
    this.hooks = source.entries.map(hooksOf);
    this.about = source.about ?? {};
    this.coders = coders;
  }

  get size(): number {
    return this.coders.length;
  }

  /** The coder of a layer. @throws UnfoldError `unknown-coder` */
  layer(layer: number): Coder {
    return this.#at(this.layers.indexOf(layer), `of layer ${layer}`);
  }

  /** The coder called `name`. @throws UnfoldError `unknown-coder` */
  named(name: string): Coder {
    return this.#at(this.names.indexOf(name), `called ${name}`);
  }

  [Symbol.iterator](): Iterator<Coder> {
    return this.coders[Symbol.iterator]();
  }

  /** Frees the weights of all. */
  dispose(): void {
    for (const coder of this.coders) coder.dispose();
  }

  #at(index: number, what: string): Coder {
    const coder = this.coders[index];
    if (coder) return coder;
    throw new UnfoldError('unknown-coder', {
      where: `a ${this.format} set`,
      expected: `a coder ${what}`,
      found: this.names.join(', '),
      todo: 'choose one of these',
    });
  }
}

/**
 * Loads every coder of a source (or those that fit a choice); one coder is a set of one.
 * @param warn is told what is known to be wrong with them
 * @throws UnfoldError as `loadCoder`; `missing-layers` for a transcoder set with holes
 */
export async function loadCoderSet(
  path: string,
  options: OpenOptions & Choice = {},
  warn: (message: string) => void = () => undefined,
): Promise<CoderSet> {
  const source = await openCoders(path, options);
  const entries = chosenEntries(source, options);
  for (const { name, warnings } of entries) for (const text of warnings) warn(`${path}: ${name}: ${text}`);
  const coders: Coder[] = [];
  try {
    for (const entry of entries) coders.push(await entry.load());
  } catch (error) {
    for (const coder of coders) coder.dispose();
    throw error;
  }
  return new CoderSet({ ...source, entries }, coders);
}
