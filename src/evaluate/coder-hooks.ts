/**
 * @file Which hook points a coder reads and writes, from its cfg.json unless told.
 */
import type { Coder } from '../coders/coder.ts';
import { UnfoldError } from '../errors.ts';

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
