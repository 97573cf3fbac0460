/** @file The settings file of `unfold harvest --config`: YAML (JSON is YAML, too). */
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { UnfoldError } from '../errors.ts';

/** A mapping of settings. @throws UnfoldError `bad-config-file` with the parser's line */
export async function readSettings(path: string): Promise<Record<string, unknown>> {
  const lesson = {
    where: path,
    expected: 'a YAML or JSON file with settings',
    todo: 'unfold harvest --help shows one',
  };
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new UnfoldError('bad-config-file', { ...lesson, found: 'no readable file', cause });
  });
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new UnfoldError('bad-config-file', { ...lesson, found: (cause as Error).message, cause });
  }
  if (value !== null && typeof value === 'object' && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new UnfoldError('bad-config-file', {
    ...lesson,
    found: `a ${Array.isArray(value) ? 'list' : typeof value}`,
  });
}
