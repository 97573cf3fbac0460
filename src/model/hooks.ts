/**
 * @file Hooks: functions that see, and may replace, activations by name. After TransformerLens's hook points, without
 * their two traps: a name that does not exist or does not fire is an error that gives the nearest names, and hooks
 * belong to one run unless they are added to the model on purpose.
 */
import { UnfoldError } from '../errors.ts';
import * as tf from '../tensor/tf.ts';
import type { GPT2Config } from './config.ts';
import { checkHookName, flagOf, type HookFlags, hookLayer, hookNames, isMlpEdge } from './hook-names.ts';

/** Where a hook function was called. */
export interface HookPoint {
  name: string;
  /** Undefined outside the blocks. */
  layer: number | undefined;
}

/**
 * Called with an activation; a tensor that it returns (of the same shape) replaces the activation. Tensors are disposed
 * when the run ends: keep one with `tf.keep(tf.clone(activation))`.
 */
export type HookFn =
  | ((activation: tf.Tensor, hook: HookPoint) => tf.Tensor | undefined)
  | ((activation: tf.Tensor, hook: HookPoint) => void);

/** Which hook points: a name, names, a regular expression or a predicate on names. */
export type NameFilter = string | readonly string[] | RegExp | ((name: string) => boolean);

/** A function at the hook points of a filter. */
export type Hook = readonly [filter: NameFilter, fn: HookFn];

/** Thrown by {@link HookTable.fire} when nothing more is wanted; caught by the run. Not an error. */
export class NothingMoreWanted extends Error {}

/** What a run can fire: the model, its flags, and where it stops. */
export interface HookScope {
  cfg: GPT2Config;
  flags: HookFlags;
  /** Blocks that run; undefined: the whole model. */
  stop: number | undefined;
}

/**
 * `stop_at_layer` as TransformerLens reads it: blocks 0 to n - 1 run, negative numbers count from the end.
 * @throws UnfoldError `bad-layer`.
 */
export function resolveStop(cfg: GPT2Config, stopAtLayer: number | undefined): number | undefined {
  if (stopAtLayer === undefined) return undefined;
  const stop = stopAtLayer < 0 ? cfg.n_layers + stopAtLayer : stopAtLayer;
  if (Number.isInteger(stop) && stop >= 0 && stop <= cfg.n_layers) return stop;
  throw new UnfoldError('bad-layer', {
    where: 'stopAtLayer',
    expected: `an integer from ${-cfg.n_layers} to ${cfg.n_layers}`,
    found: String(stopAtLayer),
    todo: 'leave it out to run the whole model',
  });
}

/** Names that fire in a run, in firing order. */
export function firingNames({ cfg, flags, stop }: HookScope): string[] {
  const names = hookNames(cfg, flags);
  if (stop === undefined) return names;
  return names.filter((name) => {
    const layer = hookLayer(name);
    return layer === undefined ? name === 'hook_embed' || name === 'hook_pos_embed' : layer < stop;
  });
}

/**
 * The names a filter means in a run. A run that stops at layer n knows `blocks.n.hook_resid_pre`, so asking for it by
 * name works; a pattern means what it does in TransformerLens, where that hook point does not fire.
 * @throws UnfoldError `unknown-hook` for a name that cannot fire and for a regular expression that matches nothing.
 */
export function matchingNames(filter: NameFilter, scope: HookScope): string[] {
  if (typeof filter === 'string') return [firingName(filter, scope)];
  if (Array.isArray(filter)) return filter.map((name: string) => firingName(name, scope));
  const firing = firingNames(scope);
  if (typeof filter === 'function') return firing.filter(filter);
  const matches = firing.filter((name) => name.search(filter as RegExp) >= 0);
  if (matches.length) return matches;
  throw new UnfoldError('unknown-hook', {
    where: String(filter),
    expected: 'a pattern that matches a hook point of this run',
    found: `no match among ${firing.length} names, from ${firing[0]} to ${firing.at(-1)}`,
    todo: 'print the names with hookNames(model.cfg, model.flags)',
  });
}

function firingName(name: string, scope: HookScope): string {
  const { cfg, flags, stop } = scope;
  checkHookName(cfg, name);
  if (name === `blocks.${stop}.hook_resid_pre` || firingNames(scope).includes(name)) return name;
  if (isMlpEdge(name, stop ?? cfg.n_layers)) return name;
  const flag = flagOf(name);
  if (flag !== undefined && !flags[flag]) {
    const [expected, todo] = [`${flag} on`, `turn it on: model.flags.${flag} = true`];
    throw new UnfoldError('unknown-hook', { where: name, expected, found: 'off: it does not fire', todo });
  }
  throw new UnfoldError('unknown-hook', {
    where: name,
    expected: 'a hook point that fires before the run stops',
    found: `stopAtLayer ${stop}`,
    todo: 'raise stopAtLayer, or leave it out',
  });
}

/** The hook points that filters name one by one; patterns and predicates mean what fires. */
export function namesIn(filters: readonly (NameFilter | undefined)[]): string[] {
  const named = (filter: NameFilter | undefined) =>
    typeof filter === 'string' ? [filter] : Array.isArray(filter) ? (filter as string[]) : [];
  return filters.flatMap(named);
}

/** What a run is asked for. */
export interface HookRequest {
  /** The model's own hooks, which come first; those that do not fire in this run are passed over. */
  persistent?: readonly { names: readonly string[]; fn: HookFn }[];
  hooks?: readonly Hook[];
  /** What to collect. */
  collect?: NameFilter | undefined;
}

/** The hooks of one run by name, and the activations it collects. */
export class HookTable {
  readonly #fns = new Map<string, HookFn[]>();
  readonly #collected = new Map<string, tf.Tensor | undefined>();
  readonly #missing = new Set<string>();
  #stopEarly = false;

  constructor(scope: HookScope, { persistent = [], hooks = [], collect }: HookRequest) {
    const wanted = hooks.flatMap(([filter, fn]) =>
      matchingNames(filter, scope).map((name) => ({ name, fn })),
    );
    for (const name of collect === undefined ? [] : matchingNames(collect, scope)) {
      this.#collected.set(name, undefined);
    }
    const firing = new Set([
      ...firingNames(scope),
      ...wanted.map(({ name }) => name),
      ...this.#collected.keys(),
    ]);
    const standing = persistent.flatMap(({ names, fn }) => names.map((name) => ({ name, fn })));
    const fires = (name: string) => firing.has(name) || isMlpEdge(name, scope.stop ?? scope.cfg.n_layers);
    for (const { name, fn } of [...standing.filter(({ name }) => fires(name)), ...wanted]) {
      this.#fns.set(name, [...(this.#fns.get(name) ?? []), fn]);
    }
  }

  /** Lets {@link fire} end the run, by {@link NothingMoreWanted}, once everything to be collected is there. */
  stopEarly(): void {
    this.#stopEarly = true;
    for (const name of this.#collected.keys()) this.#missing.add(name);
  }

  /** True if anyone looks at this hook point, so that it has to be computed. */
  wants(...names: string[]): boolean {
    return names.some((name) => this.#fns.has(name) || this.#collected.has(name));
  }

  /** Calls the functions at `name` in order, collects the result, and returns it. */
  fire(name: string, activation: tf.Tensor, last = true): tf.Tensor {
    const fns = this.#fns.get(name);
    const value = fns ? replaced(name, activation, fns) : activation;
    if (this.#collected.has(name)) this.#collect(name, value, last);
    return value;
  }

  #collect(name: string, value: tf.Tensor, last: boolean): void {
    this.#collected.get(name)?.dispose();
    // Taken out and put back, so that the map ends up in firing order.
    this.#collected.delete(name);
    this.#collected.set(name, tf.keep(tf.clone(value)));
    if (last) this.#missing.delete(name);
    if (this.#stopEarly && this.#missing.size === 0) throw new NothingMoreWanted();
  }

  /** Hands over what was collected, as tensors of the caller's scope, in firing order. */
  take(): Record<string, tf.Tensor> {
    const fired = [...this.#collected].filter(
      (entry): entry is [string, tf.Tensor] => entry[1] !== undefined,
    );
    return Object.fromEntries(fired.map(([name, tensor]) => [name, tf.clone(tensor)]));
  }

  /** Disposes what was collected. */
  dispose(): void {
    for (const [name, tensor] of this.#collected) {
      tensor?.dispose();
      this.#collected.set(name, undefined);
    }
  }
}

function replaced(name: string, activation: tf.Tensor, fns: readonly HookFn[]): tf.Tensor {
  let value = activation;
  for (const fn of fns) {
    // A function gets a clone, so that keeping it is safe, and what it returns stays its own.
    const result = fn(tf.clone(value), { name, layer: hookLayer(name) });
    if (result) value = tf.clone(checked(name, activation.shape, result));
  }
  return value;
}

function checked(name: string, shape: number[], result: unknown): tf.Tensor {
  if (result instanceof tf.Tensor && result.shape.join() === shape.join()) return result;
  const found =
    result instanceof tf.Tensor ? `a tensor of shape [${result.shape.join(', ')}]` : `a ${typeof result}`;
  throw new UnfoldError('bad-hook', {
    where: `the hook function at ${name}`,
    expected: `nothing, or a tensor of shape [${shape.join(', ')}]`,
    found,
    todo: 'return an activation of the same shape',
  });
}
