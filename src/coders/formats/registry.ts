/**
 * @file Every layout Unfold reads and writes, one line each, and the way from a path to its coders: a place is shown to
 * all layouts, and exactly one must know it. A folder that is none itself but holds folders that are (hookpoints, seeds,
 * trainers, the coders of a sweep) is a set of them.
 */
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { UnfoldError } from '../../errors.ts';
import { circuitTracer } from './circuit-tracer.ts';
import { dictionaryLearning } from './dictionary-learning.ts';
import type { CoderEntry, CoderFormat, CoderSource, OpenOptions } from './format.ts';
import { openai } from './openai.ts';
import { Place } from './place.ts';
import { saelensOld } from './saelens-old.ts';
import { saelens } from './saelens-source.ts';
import { sparsify } from './sparsify.ts';

/** All of them, in the order of help texts. */
export const formats: readonly CoderFormat[] = [
  saelens,
  saelensOld,
  sparsify,
  circuitTracer,
  dictionaryLearning,
  openai,
];

/** The layout called `name`. @throws UnfoldError `bad-setting` */
export function formatNamed(name: string): CoderFormat {
  const format = formats.find((candidate) => candidate.name === name);
  if (format) return format;
  throw new UnfoldError('bad-setting', {
    where: '--format',
    expected: `one of ${formats.map((f) => f.name).join(', ')}`,
    found: name,
    todo: 'choose one of them',
  });
}

/**
 * Describes the coders at `path` without reading their tensors.
 * @throws UnfoldError `missing-file` where there is no coder, `contradictory` where layouts disagree, and those of the
 * layout
 */
export async function openCoders(path: string, options: OpenOptions = {}): Promise<CoderSource> {
  const place = await resolved(path);
  const format = await formatOf(place, options);
  if (format) return format.open(place, options);
  const source = place.kind === 'folder' ? await openFolder(place, options) : undefined;
  if (source) return source;
  throw noCoder(place);
}

/** The one layout that knows the place; undefined if none does. */
async function formatOf(place: Place, { format }: OpenOptions): Promise<CoderFormat | undefined> {
  const found: { format: CoderFormat; evidence: string }[] = [];
  const asked = format === undefined ? formats : [formatNamed(format)];
  for (const candidate of asked) {
    const evidence = await candidate.detect(place);
    if (evidence) found.push({ format: candidate, evidence });
  }
  if (found.length < 2) return found[0]?.format;
  throw new UnfoldError('contradictory', {
    where: place.path,
    expected: 'files of one layout',
    found: found.map(({ format, evidence }) => `${format.name} (${evidence})`).join(' and '),
    todo: `say which one is meant, e.g. --format ${found[0]!.format.name}, or move the others away`,
  });
}

/** A finished run of `unfold train` keeps its coder under `final`. */
async function resolved(path: string): Promise<Place> {
  const place = await Place.at(path);
  const isRun = place.names.has('final') && !place.names.has('cfg.json');
  return isRun ? Place.at(join(path, 'final')) : place;
}

/** Folders that hold no coders of a set: the checkpoints of a run are older states of one coder. */
const PASSED_OVER = ['checkpoints', 'node_modules'];
/** Hookpoint, seed. */
const DEPTH = 2;

async function openFolder(place: Place, options: OpenOptions): Promise<CoderSource | undefined> {
  const found = await entriesBelow(place, options, DEPTH, { prefix: '', seen: new Set() });
  if (found.length === 0) return undefined;
  const names = [...new Set(found.map(({ format }) => format))];
  if (names.length > 1) {
    throw new UnfoldError('contradictory', {
      where: place.path,
      expected: 'a folder of coders in one layout',
      found: names.join(' and '),
      todo: `say which one is meant, e.g. --format ${names[0]}, or give one of its folders`,
    });
  }
  return { format: names[0]!, path: place.path, kind: 'set', entries: found.map(({ entry }) => entry) };
}

async function entriesBelow(
  place: Place,
  options: OpenOptions,
  depth: number,
  { prefix, seen }: { prefix: string; seen: Set<string> },
): Promise<{ format: string; entry: CoderEntry }[]> {
  const all: { format: string; entry: CoderEntry }[] = [];
  const inOrder = new Intl.Collator('en', { numeric: true }).compare;
  for (const name of [...place.names].sort(inOrder)) {
    if (PASSED_OVER.includes(name) || name.startsWith('.')) continue;
    const inner = await resolved(place.join(name));
    if (inner.kind !== 'folder' || !(await isNew(inner, seen))) continue;
    const format = await formatOf(inner, options);
    if (format) {
      const source = await format.open(inner, options);
      const isOne = source.entries.length === 1;
      for (const entry of source.entries) {
        const called = isOne ? `${prefix}${name}` : `${prefix}${name}/${entry.name}`;
        all.push({ format: source.format, entry: { ...entry, name: called } });
      }
    } else if (depth > 1)
      all.push(...(await entriesBelow(inner, options, depth - 1, { prefix: `${prefix}${name}/`, seen })));
  }
  return all;
}

/** False for a folder that was met under another name: `train` in a run's folder is a link to `train-1a2b3c4d`. */
async function isNew({ path }: Place, seen: Set<string>): Promise<boolean> {
  const real = await realpath(path);
  return !seen.has(real) && seen.add(real) !== undefined;
}

function noCoder(place: Place): UnfoldError {
  const found = {
    nothing: 'nothing at this path',
    file: 'a file of no known layout',
    folder: 'a folder without them',
  }[place.kind];
  return new UnfoldError('missing-file', {
    where: place.path,
    expected: `a coder: a finished training run, or one of\n            ${formats.map(({ about }) => about).join('\n            ')}`,
    found,
    todo: place.names.has('checkpoints')
      ? 'this run is not finished: its coders are under checkpoints/step-N'
      : 'give the folder or file of a coder',
  });
}
