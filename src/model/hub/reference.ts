/** @file Names of models: hub ids with an optional revision, and the short names that TransformerLens users type. */

/** A model on the hub. */
export interface HubReference {
  /** `organisation/name`. */
  id: string;
  /** A branch, a tag or a commit. */
  revision: string;
}

/** Short and old names. GPT-2s only: others would be refused by their config anyway. */
const ALIASES: Record<string, string> = {
  gpt2: 'openai-community/gpt2',
  'gpt2-small': 'openai-community/gpt2',
  'gpt2-medium': 'openai-community/gpt2-medium',
  'gpt2-large': 'openai-community/gpt2-large',
  'gpt2-xl': 'openai-community/gpt2-xl',
  distilgpt2: 'distilbert/distilgpt2',
  distillgpt2: 'distilbert/distilgpt2',
};

/** The aliases, for "did you mean". */
export const SHORT_NAMES: readonly string[] = Object.keys(ALIASES);

/** Reads `org/name`, `org/name@revision` or an alias; undefined if it cannot be a hub id. */
export function parseReference(name: string): HubReference | undefined {
  const [id = '', revision = 'main', ...more] = name.split('@');
  const full = ALIASES[id] ?? id;
  const valid = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(full) && !full.includes('..');
  const sane = /^[\w][\w./-]*$/.test(revision) && !revision.includes('..');
  return valid && sane && more.length === 0 ? { id: full, revision } : undefined;
}

/** The ids under which older programs may have put the same model into the cache. */
export function cachedIds(id: string): string[] {
  return [id, ...SHORT_NAMES.filter((alias) => ALIASES[alias] === id)];
}

/** True for a full commit hash, which names content that never changes. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}
