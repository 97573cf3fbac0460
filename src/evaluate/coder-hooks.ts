/**
 * @file Which hook points a coder reads and writes, from its cfg.json unless told.
 */
import type { Coder } from '../coders/coder.ts';
import { UnfoldError } from '../errors.ts';
import { flagsFor, hookWidth } from '../model/hook-names.ts';
import type { GPT2 } from '../model/model.ts';

/** A coder and, optionally, other hooks than its own. */
export interface CoderHooks {
  coder: Coder;
  /** Hook the coder reads; `metadata.hook_name` unless given. */
  hook_name?: string;
  /** Hook the coder writes (transcoders); `metadata.hook_name_out`, or the one it reads. */
  hook_name_out?: string;
}

/** The hooks a coder reads and writes. @throws UnfoldError `bad-evaluation` when none is known */
export function hooksOf({ coder, hook_name, hook_name_out }: CoderHooks): {
  hookIn: string;
  hookOut: string;
} {
  const { metadata } = coder.cfg;
  refuseHead(metadata);
  const hookIn = hook_name ?? metadata.hook_name;
  const hookOut = hook_name_out ?? metadata.hook_name_out ?? metadata.hook_out ?? hookIn;
  if (typeof hookIn === 'string' && typeof hookOut === 'string') return { hookIn, hookOut };
  throw new UnfoldError('bad-evaluation', {
    where: "metadata.hook_name in the coder's cfg.json",
    expected: 'the hook point the coder was trained on',
    found: JSON.stringify(hookIn ?? null),
    todo: 'name it with --hook-name, for example blocks.2.hook_resid_pre',
  });
}

/** SAELens's coders of one head of hook_z read a part of a row. */
function refuseHead({ hook_name, hook_head_index, hook_head_index_out }: Coder['cfg']['metadata']): void {
  const head = hook_head_index ?? hook_head_index_out ?? null;
  if (head === null) return;
  throw new UnfoldError('bad-evaluation', {
    where: "metadata.hook_head_index in the coder's cfg.json",
    expected: 'a coder of whole rows',
    found: `head ${JSON.stringify(head)} of ${String(hook_name)} alone`,
    todo: 'run it over rows of that head with unfold encode; inside a model such coders are not spliced',
  });
}

/** A hook point and the width that a coder has there. */
export interface HookSide {
  name: string;
  width: number;
}

/**
 * Holds the hooks of a coder, or of several, against the model: names that exist, with one row per token, of the coder's width.
 * @throws UnfoldError `unknown-hook`, `bad-hook`; `bad-setting` for another width
 */
export function checkHookRows(model: Pick<GPT2, 'cfg'>, sides: readonly HookSide[]): void {
  const flags = flagsFor(sides.map(({ name }) => name));
  for (const { name, width } of sides) {
    const has = hookWidth(model.cfg, name, flags);
    if (has === width) continue;
    throw new UnfoldError('bad-setting', {
      where: `hook ${name}`,
      expected: `rows of ${width} numbers, as the coder has them there`,
      found: `${has}`,
      todo: 'give the model that the coder was trained on, or the right hook with --hook-name and --hook-name-out',
    });
  }
}
