/**
 * @file Numbers that somebody wrote as text: a flag, an environment variable, a parameter of a URL. Decimal, with an exponent
 * and underscores between digits if you like. JavaScript's own reading takes more than anybody means: '' and ' ' as 0 (a
 * shell variable that is not set), '0x10' as 16, '1e999' as infinity.
 */
import { UnfoldError } from './errors.ts';

const DIGITS = '\\d+(?:_\\d+)*';
const DECIMAL = new RegExp(`^[+-]?(?:${DIGITS}(?:\\.(?:${DIGITS})?)?|\\.${DIGITS})(?:e[+-]?\\d+)?$`, 'i');

/** The finite number that `text` says; undefined for anything else. Spaces around it do not count. */
export function numberOf(text: string): number | undefined {
  const trimmed = text.trim();
  if (!DECIMAL.test(trimmed)) return undefined;
  const value = Number(trimmed.replaceAll('_', ''));
  return Number.isFinite(value) ? value : undefined;
}

/** The whole number that `text` says, as far as it is exact (2^53); undefined for anything else. */
export function wholeNumberOf(text: string): number | undefined {
  const value = numberOf(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** What a number may be. */
export interface NumberRange {
  least?: number;
  most?: number;
  whole?: boolean;
  /** `least` itself is too small. */
  above?: boolean;
}

/** The number, if it is within the range; undefined if not. */
export function numberWithin(text: string, range: NumberRange): number | undefined {
  const { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY, whole, above } = range;
  const value = whole ? wholeNumberOf(text) : numberOf(text);
  if (value === undefined || value > most || (above ? value <= least : value < least)) return undefined;
  return value;
}

/** "a whole number from 1 to 256", "a number above 0". */
export function describeRange({ least, most, whole, above }: NumberRange): string {
  const kind = whole ? 'a whole number' : 'a number';
  const from = least === undefined ? '' : above ? ` above ${least}` : ` from ${least}`;
  const to = most === undefined ? '' : above || least === undefined ? ` up to ${most}` : ` to ${most}`;
  return `${kind}${from}${from && !above && !to ? ' on' : ''}${to}`;
}

/**
 * A number in an environment variable; one that is set to nothing counts as not set.
 * @throws UnfoldError `bad-setting` that names the variable
 */
export function numberFromEnvironment(
  name: string,
  range: NumberRange,
  env = process.env,
): number | undefined {
  const text = env[name];
  if (text === undefined || text === '') return undefined;
  const value = numberWithin(text, range);
  if (value !== undefined) return value;
  throw new UnfoldError('bad-setting', {
    where: `the environment variable ${name}`,
    expected: describeRange(range),
    found: JSON.stringify(text),
    todo: `correct it, or unset ${name}`,
  });
}
