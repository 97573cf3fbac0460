/**
 * @file What a user or a file says, held against its zod schema: one lesson that names every setting that is wrong, with
 * what was found there. Nothing that comes from outside goes through zod's throwing `.parse`, whose error is not a lesson.
 */
import type { z } from 'zod';
import { UnfoldError } from './errors.ts';

/** What the lesson says besides. */
export interface Asking {
  /** File, command or settings that hold the value. */
  where: string;
  kind?: string;
  /** Unless given, what the schema wants at the first wrong place. */
  expected?: string;
  todo?: string;
}

/** The value as the schema has it, defaults filled in. @throws UnfoldError (`bad-setting` unless said otherwise) */
export function checked<S extends z.ZodType>(schema: S, value: unknown, asking: Asking): z.output<S> {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw explainIssues(parsed.error.issues, value, asking);
}

/** The lesson of issues that zod found in `value`. */
export function explainIssues(
  issues: readonly z.core.$ZodIssue[],
  value: unknown,
  { where, kind = 'bad-setting', expected, todo }: Asking,
): UnfoldError {
  const names = [...new Set(issues.map(({ path }) => path.join('.')).filter(Boolean))];
  const [first] = issues;
  return new UnfoldError(kind, {
    where: names.length === 1 ? `${where}: ${names[0]}` : where,
    expected: expected ?? wanted(first!),
    found: issues.map((issue) => foundAt(issue, value, names.length > 1)).join('; '),
    todo: todo ?? (names.length ? `change ${names.join(', ')}` : 'correct it'),
  });
}

/** zod's words, without what they begin with. */
function wanted({ message }: z.core.$ZodIssue): string {
  return message.replace(/^(Invalid input|Too small|Too big|Invalid option): (expected )?/, '');
}

function foundAt(issue: z.core.$ZodIssue, value: unknown, named: boolean): string {
  const name = issue.path.join('.');
  const at = issue.path.reduce<unknown>(
    (up, key) => (up as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
  const shown = issue.code === 'unrecognized_keys' ? issue.keys.join(', ') : brief(at);
  return named ? `${name || 'the whole'}: ${shown} (${wanted(issue)})` : `${shown} (${wanted(issue)})`;
}

/** A value in at most 80 characters, whatever it is. */
export function brief(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = typeof value === 'string' || isPlainObject(value) ? inJson(value) : String(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}…`;
}

const isPlainObject = (value: unknown) => value !== null && typeof value === 'object';

/** A value that holds itself, or is too deep, has no JSON. */
function inJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return 'a value that cannot be written as JSON';
  }
}
