/** @file Files of settings: `--config`, `--sweep`, benchmarks. YAML (JSON is YAML, too). */
import { UnfoldError } from '../errors.ts';
import { plainValue, readYamlFile } from '../yaml.ts';

/** A mapping of settings. @throws UnfoldError `bad-config-file`, or `bad-yaml` with line and column */
export async function readSettings(path: string): Promise<Record<string, unknown>> {
  const lesson = {
    expected: 'a YAML or JSON file with settings',
    todo: 'the command’s --help says what is in one',
  };
  const value = plainValue(await readYamlFile(path, { ...lesson, kind: 'bad-config-file' }));
  if (value !== null && typeof value === 'object' && !Array.isArray(value))
    return value as Record<string, unknown>;
  const kind = Array.isArray(value) ? 'list' : typeof value;
  throw new UnfoldError('bad-config-file', {
    ...lesson,
    where: path,
    found: value == null ? 'nothing' : `a ${kind}`,
  });
}
