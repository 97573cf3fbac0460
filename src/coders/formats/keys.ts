/**
 * @file Every key of a foreign settings file is accounted for: it is used, or it says nothing about what the coder computes
 * (training, bookkeeping), or it is refused by name where its value changes the result in a way that is not computed here.
 * A key that no table knows is named in a warning; the libraries themselves pass over such keys. Each layout declares its
 * tables, this file applies them.
 */
import { brief } from '../../checked.ts';
import { refused } from './stored.ts';

/** What a file of settings may hold. */
export interface KeyTable {
  /** Settings of whom, for messages: `a sparsify coder`. */
  whose: string;
  /** Keys that decide what is computed or read, and are heeded. */
  used: readonly string[];
  /** Keys that decide neither: how it was trained, on what machine, and names. */
  neutral: readonly string[];
  /** Keys that would change the result, with the values at which they do not; other values are refused. */
  refused: Readonly<Record<string, Harmless>>;
}

/** The values that change nothing, and what the others would do. */
export interface Harmless {
  harmless: readonly unknown[];
  means: string;
}

/** A key that must be off: false, null, 0, empty. */
export const off = (means: string): Harmless => ({ harmless: [false, null, 0, ''], means });

/**
 * Holds the keys of a file against its table.
 * @returns a warning that names the keys nobody knows; empty if there are none
 * @throws UnfoldError `unknown-architecture` that names the key whose value cannot be heeded
 */
export function heedKeys(
  fields: Readonly<Record<string, unknown>>,
  table: KeyTable,
  where: string,
): string[] {
  for (const [key, rule] of Object.entries(table.refused)) {
    if (Object.hasOwn(fields, key)) refuse(key, fields[key], rule, where);
  }
  const known = new Set([...table.used, ...table.neutral, ...Object.keys(table.refused)]);
  const unknown = Object.keys(fields).filter((key) => !known.has(key));
  if (unknown.length === 0) return [];
  const shown = unknown.slice(0, 8).map((key) => `${key}: ${brief(fields[key])}`);
  const more = unknown.length > shown.length ? ` and ${unknown.length - shown.length} more` : '';
  return [`no known ${plural(unknown)} of ${table.whose}, not heeded: ${shown.join(', ')}${more}`];
}

const plural = (keys: readonly string[]) => (keys.length === 1 ? 'setting' : 'settings');

function refuse(key: string, value: unknown, { harmless, means }: Harmless, where: string): void {
  const isEmpty =
    typeof value === 'object' && value !== null && Object.values(value).every((v) => v === null);
  if (isEmpty || harmless.includes(value)) return;
  throw refused(
    `${where}: ${key}`,
    `${key}: ${harmless.map((v) => JSON.stringify(v)).join(' or ')}`,
    `${brief(value)}, which means ${means}`,
    'such a coder is not computed here, and leaving the key out of account would give other numbers',
  );
}

/** What lies beside a coder's files and looks like weights, of which nothing is read. */
export function strangeFiles(names: Iterable<string>, isKnown: (name: string) => boolean): string[] {
  const strange = [...names].filter((name) => WEIGHTS.test(name) && !isKnown(name)).sort();
  if (strange.length === 0) return [];
  const shown = strange.slice(0, 8).join(', ');
  const more = strange.length > 8 ? ` and ${strange.length - 8} more` : '';
  return [`not part of this layout and not read: ${shown}${more}`];
}

/** Arrays, pickles, lists of shards, and tensors under a name that parts of a coder have. */
const WEIGHTS =
  /\.(npy|npz|bin|pt|pth|index\.json)$|^(.*-of-\d+|(W|b|sae|ae|model|weights|layer|encoder|decoder|adapter|skip|mask|threshold|scal)[\w.-]*)\.safetensors$/;
