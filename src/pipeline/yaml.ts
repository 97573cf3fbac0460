/**
 * @file Pipeline files: YAML read with positions, so that every complaint says file:line:column, whether it comes from
 * the syntax or from the schema. Unknown keys are refused with the nearest known ones; nothing is ignored in silence.
 */
import { type Document, isMap, isNode, isPair, isScalar } from 'yaml';
import type { z } from 'zod';
import { brief } from '../checked.ts';
import { nearest, UnfoldError } from '../errors.ts';
import { otherNameOf } from '../other-names.ts';
import { parseYaml, placeAt, plainValue, readYamlFile, type YamlSource } from '../yaml.ts';

export { parseYaml, type YamlSource } from '../yaml.ts';

/** Reads and parses; @throws UnfoldError `missing-file`, `unreadable`, or `bad-yaml` with line and column. */
export async function readYaml(path: string): Promise<YamlSource> {
  return readYamlFile(path, {
    expected: 'a pipeline file (YAML)',
    todo: 'check the path; the bundled one is pipelines/quickstart.yaml',
  });
}

/** Applies `--set a.b=value`, the value written as YAML: `train.lr=1e-3`, `corpus.dataset=[a.txt, b.txt]`. */
export function applySetting(source: YamlSource, assignment: string): void {
  const at = assignment.indexOf('=');
  const path = assignment.slice(0, at).trim().split('.');
  if (at < 1 || path.some((key) => key === '')) throw badAssignment(assignment, 'no path before "="');
  if (assignment.slice(at + 1).trim() === '') throw badAssignment(assignment, 'nothing behind "="');
  try {
    const value = plainValue(parseYaml(assignment.slice(at + 1), '--set'));
    source.document.setIn(path, source.document.createNode(value));
  } catch (cause) {
    const found = cause instanceof UnfoldError ? cause.lesson.found : (cause as Error).message;
    throw badAssignment(assignment, found.split('\n')[0]!);
  }
  source.overridden.add(path.join('.'));
}

function badAssignment(assignment: string, found: string): UnfoldError {
  return new UnfoldError('bad-setting', {
    where: `--set ${assignment}`,
    expected: 'path.to.setting=value with a path that the pipeline file could have',
    found,
    todo: 'write for example --set train.lr=1e-3',
  });
}

/** Validates; @throws UnfoldError `bad-pipeline` that names place, path, what was expected and what was found. */
export function validateYaml<S extends z.ZodType>(source: YamlSource, schema: S): z.output<S> {
  const value = plainValue(source) ?? {};
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  throw explainIssue(source, schema, deepest(result.error.issues[0]!));
}

/** The most telling issue of a failed union: the branch that got furthest. */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const branches = issue.errors.flat().map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }));
  const further = branches.filter((inner) => inner.path.length > issue.path.length).at(0);
  return further === undefined ? issue : deepest(further as z.core.$ZodIssue);
}

function explainIssue(source: YamlSource, schema: z.ZodType, issue: z.core.$ZodIssue): UnfoldError {
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0]! : undefined;
  const path = unknown === undefined ? issue.path : [...issue.path, unknown];
  const name = path.join('.');
  const found = lookUp(plainValue(source), path);
  const lesson = { where: `${placeOf(source, path)}: ${name || 'the whole file'}` };
  if (unknown !== undefined) {
    const known = keysAt(schema, issue.path);
    const best = nearest(unknown, known);
    const meant = otherNameOf(unknown, known);
    return new UnfoldError('bad-pipeline', {
      ...lesson,
      expected: `one of ${known.join(', ')}`,
      found: `an unknown setting "${unknown}"`,
      todo:
        meant === undefined
          ? `did you mean ${best.map((key) => `"${key}"`).join(' or ')}? Otherwise remove it`
          : `write ${meant}`,
    });
  }
  return new UnfoldError('bad-pipeline', {
    ...lesson,
    expected: expectedBy(issue),
    found: found === undefined ? 'nothing (it is required)' : brief(found),
    todo: `mend the setting there, or override it with --set ${name}=VALUE`,
  });
}

/** The value at a path of a file; undefined where there is none. */
export function lookUp(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], value);
}

/** "a number", "at least 1", "one of a, b": zod's message without its "Invalid input:". */
function expectedBy(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') return `one of ${issue.values.map(String).join(', ')}`;
  if (issue.code === 'invalid_type')
    return issue.expected === 'int' ? 'a whole number' : `a value of type ${issue.expected}`;
  if (issue.code === 'invalid_union') {
    const kinds = issue.errors.flat().map((inner) => expectedBy(inner as z.core.$ZodIssue));
    return [...new Set(kinds)].join(', or ');
  }
  return issue.message.replace(/^Invalid input: /, '').replace(/^expected /, '');
}

/** file:line:column of the value at `path`, or of its nearest ancestor that is there. */
export function placeOf(source: YamlSource, path: readonly PropertyKey[]): string {
  for (let length = path.length; length >= 0; length--) {
    const names = path.slice(0, length);
    if (length > 0 && source.overridden.has(names.join('.'))) return `--set ${names.join('.')}`;
    const offset = offsetOf(source.document, names);
    if (offset === undefined) continue;
    return placeAt(source.path, source.lines, offset);
  }
  return source.path;
}

/** Offset of the key of a map entry, of the element of a list, or of the whole document. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number | undefined {
  const parent = path.length ? document.getIn(path.slice(0, -1), true) : undefined;
  const node =
    path.length === 0
      ? document.contents
      : isMap(parent)
        ? keyNode(parent.items, path.at(-1))
        : document.getIn(path, true);
  return isNode(node) ? node.range?.[0] : undefined;
}

function keyNode(items: readonly unknown[], key: PropertyKey | undefined): unknown {
  return items.flatMap((item) =>
    isPair(item) && isScalar(item.key) && item.key.value === key ? [item.key] : [],
  )[0];
}

/** The keys a strict object schema knows at `path`. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at = bare(schema);
  for (const key of path) at = bare(shapeOf(at)[String(key)]);
  return Object.keys(shapeOf(at));
}

function shapeOf(schema: z.core.$ZodType | undefined): Record<string, z.core.$ZodType> {
  const definition = schema?._zod.def as
    | { shape?: Record<string, z.core.$ZodType>; options?: z.core.$ZodType[] }
    | undefined;
  if (definition?.shape) return definition.shape;
  return Object.assign({}, ...(definition?.options ?? []).map((option) => shapeOf(bare(option))));
}

/** A schema without optional, default, prefault, pipe or nullable around it. */
function bare(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  const definition = schema?._zod.def as { innerType?: z.core.$ZodType; in?: z.core.$ZodType } | undefined;
  const inner = definition?.innerType ?? definition?.in;
  return inner === undefined ? schema : bare(inner);
}
