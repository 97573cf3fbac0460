/**
 * @file Which hooks a run reads: one whose rows are their own target, an input and a target (transcoders), or several of
 * each (crosscoders, cross-layer transcoders). The architecture says which settings it takes; the rows say which hooks
 * there are.
 */
import type { CoderHooks, HookUse } from '../coders/training.ts';
import { UnfoldError } from '../errors.ts';
import { hookLayer } from '../model/hook-names.ts';
import { nearestHooks } from '../model/nearest-hooks.ts';
import type { ActivationBlock, BlockSource, HookWidth } from '../shards/block-source.ts';

/** The settings that name hooks. */
export interface HookSettings {
  hook_name?: string;
  hook_name_out?: string;
  hook_names?: readonly string[];
  hook_names_out?: readonly string[];
}

type Name = keyof HookSettings;

/** What each kind of architecture takes. */
const TAKES: Record<HookUse, readonly Name[]> = {
  one: ['hook_name'],
  'in-out': ['hook_name', 'hook_name_out'],
  several: ['hook_names'],
  'several-in-out': ['hook_names', 'hook_names_out'],
};

/** Each hook of a run once, inputs first. */
export function namesOf({ in: inputs, out }: CoderHooks): string[] {
  return [...new Set([...inputs, ...out].map(({ name }) => name))];
}

/** Width of a row of hooks that stand side by side. */
export const widthOf = (hooks: readonly HookWidth[]): number =>
  hooks.reduce((sum, { width }) => sum + width, 0);

/** The hooks that are predicted: the targets, or the inputs where they are their own. */
export const targetsOf = ({ in: inputs, out }: CoderHooks): readonly HookWidth[] =>
  out.length > 0 ? out : inputs;

/** The hook names in settings, whatever the architecture makes of them: what a live model is asked for. */
export function namedHooks({ hook_name, hook_name_out, hook_names, hook_names_out }: HookSettings): string[] {
  const all = [hook_name, hook_name_out, ...(hook_names ?? []), ...(hook_names_out ?? [])];
  return [...new Set(all.filter((name) => name !== undefined))];
}

/**
 * The hooks of a run on these rows.
 * @param owner what the error names: an architecture, or "coder NAME"
 * @throws UnfoldError `unknown-hook` if one was not harvested, `bad-setting` if the architecture takes others
 */
export function chooseHooks(
  { hooks }: Pick<BlockSource, 'hooks'>,
  use: HookUse,
  settings: HookSettings,
  owner: string,
): CoderHooks {
  const unused = (Object.keys(settings) as Name[]).find(
    (key) => settings[key] !== undefined && !TAKES[use].includes(key),
  );
  if (unused) throw notTaken(unused, use, settings, owner);
  const find = (name: string, setting: Name) => hookNamed(hooks, name, setting, owner);
  if (use === 'one') return { in: [find(onlyHook(hooks, settings.hook_name, owner), 'hook_name')], out: [] };
  for (const key of TAKES[use])
    if (settings[key] === undefined) throw missing(key, hooks, owner, settings.hook_name);
  const { hook_name, hook_name_out, hook_names = [], hook_names_out = [] } = settings;
  if (use === 'in-out')
    return { in: [find(hook_name!, 'hook_name')], out: [find(hook_name_out!, 'hook_name_out')] };
  const several = {
    in: hook_names.map((name) => find(name, 'hook_names')),
    out: hook_names_out.map((name) => find(name, 'hook_names_out')),
  };
  if (use === 'several-in-out' && several.in.length !== several.out.length) {
    throw new UnfoldError('bad-setting', {
      where: `${owner}: hook_names and hook_names_out`,
      expected: 'as many targets as inputs, in the order of the layers',
      found: `${several.in.length} and ${several.out.length}`,
      todo: 'name one target for each input',
    });
  }
  return several;
}

function onlyHook(hooks: readonly HookWidth[], wanted: string | undefined, owner: string): string {
  if (wanted !== undefined) return wanted;
  if (hooks.length === 1) return hooks[0]!.name;
  throw missing('hook_name', hooks, owner);
}

function hookNamed(hooks: readonly HookWidth[], wanted: string, setting: Name, owner: string): HookWidth {
  const found = hooks.find(({ name }) => name === wanted);
  if (found) return found;
  const names = hooks.map(({ name }) => name);
  throw new UnfoldError('unknown-hook', {
    where: `${owner}: ${setting}`,
    expected: `one of the hooks of these rows: ${names.join(', ')}`,
    found: wanted,
    todo: `choose one (perhaps ${nearestHooks(wanted, names, 1)[0]}), or harvest again with ${wanted} among the hooks`,
  });
}

/** @param input the hook that is read, where it is known: what is predicted stands in its layer as a rule */
function missing(setting: Name, hooks: readonly HookWidth[], owner: string, input?: string): UnfoldError {
  const names = hooks.map(({ name }) => name);
  const flag = `--${setting.replaceAll('_', '-')}`;
  const several = setting.startsWith('hook_names');
  return new UnfoldError('unknown-hook', {
    where: `${owner}: ${setting}`,
    expected: `${several ? 'hooks' : 'one of the hooks'} of these rows: ${names.join(', ')}`,
    found: several ? 'none' : 'no choice among several',
    todo: `choose: ${flag} ${several ? names.slice(0, 2).join(',') : likely(setting, names, input)}`,
  });
}

/** The input hook for an input; for what is predicted, the output of the MLP in its layer, or whatever else there is of it. */
function likely(setting: Name, names: readonly string[], input: string | undefined): string {
  if (setting !== 'hook_name_out' || input === undefined) return names[0]!;
  const others = names.filter((name) => name !== input);
  const own = others.filter((name) => hookLayer(name) === hookLayer(input));
  const isOutput = (name: string) => /hook_(mlp_out|attn_out|out|result)$/.test(name);
  const layer = hookLayer(input);
  const usual = layer === undefined ? names[0]! : `blocks.${layer}.hook_mlp_out`;
  return own.find((name) => name.endsWith('mlp_out')) ?? own.find(isOutput) ?? own[0] ?? others[0] ?? usual;
}

function notTaken(setting: Name, use: HookUse, settings: HookSettings, owner: string): UnfoldError {
  return new UnfoldError('bad-setting', {
    where: `${owner}: ${setting}`,
    expected: `${TAKES[use].join(' and ')}, which say what this architecture reads`,
    found: `${setting}: ${String(settings[setting])}`,
    todo: `leave ${setting} out, or choose an architecture that takes it`,
  });
}

/** Rows that do not hold on to the memory of their neighbours (a block's hooks share one buffer). */
const alone = (values: Float32Array): Float32Array =>
  values.byteLength * 2 < values.buffer.byteLength ? values.slice() : values;

/** The source with these of its hooks only, in its own order: what is not needed is not kept, nor shuffled. */
export function withHooks(source: BlockSource, names: readonly string[]): BlockSource {
  const hooks = source.hooks.filter(({ name }) => names.includes(name));
  if (hooks.length === source.hooks.length) return source;
  const { blockRows, contentHash } = source;
  const narrowed = ({ activations, ...block }: ActivationBlock): ActivationBlock => ({
    ...block,
    activations: new Map(hooks.map(({ name }) => [name, alone(activations.get(name)!)])),
  });
  return {
    hooks,
    blockRows,
    contentHash,
    readBlock: async (index) => narrowed(await source.readBlock(index, names)),
    close: () => source.close(),
  };
}
