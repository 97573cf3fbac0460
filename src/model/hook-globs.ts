/**
 * @file Hook points by name, by glob (`blocks.*.hook_resid_post`) or all of them: the same words for `unfold cache`, a harvest
 * and a pipeline.
 */
import { UnfoldError } from '../errors.ts';
import type { GPT2Config } from './config.ts';
import { allFlags, checkHookName, defaultFlags, type HookFlags, hookNames } from './hook-names.ts';
import { firingNames, resolveStop } from './hooks.ts';
import { nearestHooks } from './nearest-hooks.ts';

/** What a glob may mean. */
export interface Expansion {
  flags?: Partial<HookFlags>;
  stopAtLayer?: number | undefined;
  /** True: a glob means hook points with a row per token only, which leaves attention scores and patterns out. */
  rowsOnly?: boolean;
}

/**
 * Names for names, globs and `all`, in the order given. Globs and `all` mean what fires in this run; a glob that matches
 * nothing of it means hook points that a setting adds (`blocks.*.hook_mlp_in`), which is on where they are named.
 * @throws UnfoldError `unknown-hook` for a name that does not exist and a glob that matches nothing.
 */
export function expandHooks(
  cfg: GPT2Config,
  hooks: readonly string[],
  { flags, stopAtLayer, rowsOnly = false }: Expansion = {},
): string[] {
  const stop = resolveStop(cfg, stopAtLayer);
  const names = new Set<string>();
  for (const hook of hooks.flatMap((entry) => entry.split(',')).map((entry) => entry.trim())) {
    if (hook === '') continue;
    for (const name of expand(cfg, hook, { flags: { ...defaultFlags, ...flags }, stop, rowsOnly }))
      names.add(name);
  }
  if (names.size) return [...names];
  throw new UnfoldError('unknown-hook', {
    where: 'the hook points',
    expected: 'names, globs or all',
    found: 'nothing',
    todo: 'for instance blocks.*.hook_resid_post',
  });
}

const PER_PAIR = /hook_(attn_scores|pattern)$/;

function expand(
  cfg: GPT2Config,
  hook: string,
  { flags, stop, rowsOnly }: { flags: HookFlags; stop: number | undefined; rowsOnly: boolean },
): string[] {
  const meant = (names: readonly string[]) =>
    rowsOnly ? names.filter((name) => !PER_PAIR.test(name)) : names;
  const firing = (with_: HookFlags) => meant(firingNames({ cfg, flags: with_, stop }));
  if (hook === 'all') return [...firing(flags)];
  if (!hook.includes('*')) {
    checkHookName(cfg, hook);
    return [hook];
  }
  const pattern = new RegExp(`^${hook.split('*').map(escaped).join('.*')}$`);
  const matches = (names: readonly string[]) => names.filter((name) => pattern.test(name));
  const found = matches(firing(flags));
  const added = found.length ? found : matches(firing(allFlags));
  if (added.length) return added;
  const later = matches(hookNames(cfg, allFlags));
  const near = nearestHooks(hook.replaceAll('*', '0'), hookNames(cfg, allFlags), 2);
  throw new UnfoldError('unknown-hook', {
    where: hook,
    expected: 'a glob that matches a hook point of this run',
    found: 'no match',
    todo: later.length
      ? `${later[0]} ${PER_PAIR.test(later[0]!) ? 'has no row per token' : 'fires later than the run stops'}`
      : `a glob over the layers of one hook point, such as blocks.*.${near[0]!.replace(/^blocks\.\d+\./, '')}`,
  });
}

const escaped = (text: string) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
