/**
 * @file Coders from one layout into another: what `unfold import` and `unfold export` do. A folder appears whole or not at
 * all; what was written is opened again and must compute what the original computes.
 */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { breathe, type StageContext, silent } from '../../context.ts';
import { internal, UnfoldError } from '../../errors.ts';
import { sha256File, sweepParts, writeFolder } from '../../files.ts';
import { besideFolder, targetOf } from '../../targets.ts';
import { type Agreement, agreement } from './agreement.ts';
import { type Choice, chosenEntries, chosenEntry } from './choose.ts';
import type { CoderEntry, CoderSource, OpenOptions, WriteOptions } from './format.ts';
import { formatNamed, formats, openCoders } from './registry.ts';
import { writeSaeLens } from './saelens.ts';
import { requestOf, writeWritten, writtenBefore } from './written.ts';

/** What to import, and which of its coders. */
export interface ImportOptions extends OpenOptions, Choice {
  /** Folder or file in any layout. */
  source: string;
  /** Folder to write: the coder itself, or one folder a coder. Must not hold anything else than the same from before. */
  out: string;
  /** Storage type; default: that of the source. */
  dtype?: WriteOptions['dtype'];
}

/** What to export. */
export interface ExportOptions extends WriteOptions, Choice {
  /** Coders, sets or folders of coders in any layout. */
  coders: readonly string[];
  format: string;
  out: string;
}

/** A coder that was written. */
export interface Converted extends Agreement {
  name: string;
  architecture: string;
  dir: string;
  notes: readonly string[];
}

/** What was written. */
export interface ConvertResult {
  /** Layout of the source (import) or of the result (export). */
  format: string;
  out: string;
  coders: Converted[];
  files: string[];
  /** True if the same command had written it before. */
  skipped: boolean;
}

/**
 * Brings coders into Unfold's layout, which is SAELens 6's.
 * @throws UnfoldError those of the layout; `not-empty` if `out` holds something else; `damaged` if it is the same and has changed
 */
export async function importCoders(
  options: ImportOptions,
  context: StageContext = silent(),
): Promise<ConvertResult> {
  const source = await openCoders(options.source, options);
  const entries = chosenEntries(source, options);
  warn(entries, context);
  const isOne = source.kind === 'coder' || entries.length === 1;
  const request = await requestOf(entries, {
    isOne,
    format: source.format,
    dtype: options.dtype,
    rule: options.rule,
  });
  return intoFolder(options.out, request, async (part) => {
    const coders: Converted[] = [];
    const bar = context.bar('import', entries.length, 'coders');
    for (const entry of entries) {
      await breathe(context);
      const dir = isOne ? part : join(part, entry.name);
      const coder = await entry.load();
      try {
        const metadata = { imported_from: await originOf(entry, source) };
        const dtype = options.dtype;
        await writeSaeLens(coder, dir, { metadata, ...(dtype && { dtype }) });
      } finally {
        coder.dispose();
      }
      const [twin] = (await openCoders(dir, { format: 'saelens' })).entries;
      coders.push({ ...(await comparedWith(entry, twin!, options)), dir });
      bar.update(coders.length);
    }
    bar.finish();
    return { format: source.format, coders };
  });
}

/**
 * Writes coders in another layout, exactly or not at all.
 * @throws UnfoldError `cannot-export` that says what the layout cannot express; `missing-layers`; `not-empty`
 */
export async function exportCoders(
  options: ExportOptions,
  context: StageContext = silent(),
): Promise<ConvertResult> {
  const format = formatNamed(options.format);
  if (!format.write) {
    throw new UnfoldError('cannot-export', {
      where: `--format ${format.name}`,
      expected: `a layout that is written: ${formats
        .filter((f) => f.write)
        .map((f) => f.name)
        .join(', ')}`,
      found: `${format.name}, which is only read`,
      todo: 'choose one of them',
    });
  }
  const entries = await exportEntries(options);
  warn(entries, context);
  const { out, dtype, hookpoint, scan } = options;
  const request = await requestOf(entries, { to: format.name, dtype, hookpoint, scan });
  return intoFolder(out, request, async (part) => {
    const names = await format.write!(entries, part, options);
    const folders = await readdir(part);
    const written = await openCoders(part, { format: format.name });
    const coders: Converted[] = [];
    for (const [i, entry] of entries.entries()) {
      await breathe(context);
      const isOne = entries.length === 1;
      const twin = isOne ? written.entries[0]! : chosenEntry(written, { name: names[i] });
      coders.push({
        ...(await comparedWith(entry, twin, options)),
        dir: folders.includes(names[i]!) ? join(out, names[i]!) : out,
      });
    }
    return { format: format.name, coders };
  });
}

async function exportEntries({ coders, layer, hook, name }: ExportOptions): Promise<CoderEntry[]> {
  const entries: CoderEntry[] = [];
  for (const path of coders) {
    const source = await openCoders(path);
    const chosen = chosenEntries(source, { layer, hook, name });
    const own = source.kind === 'coder' && coders.length > 1;
    entries.push(...chosen.map((entry) => (own ? { ...entry, name: nameOf(path) } : entry)));
  }
  const names = entries.map((entry) => entry.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return entries;
  throw new UnfoldError('cannot-export', {
    where: coders.join(' '),
    expected: 'coders of different names',
    found: `two called ${twice}`,
    todo: 'rename one of the folders',
  });
}

/** A run is called by its own name, not by that of `final`. */
function nameOf(path: string): string {
  const full = resolve(path);
  return basename(full) === 'final' ? basename(dirname(full)) : basename(full);
}

function warn(entries: readonly CoderEntry[], context: StageContext): void {
  for (const { name, warnings } of entries) for (const text of warnings) context.warn(`${name}: ${text}`);
}

async function originOf(entry: CoderEntry, source: CoderSource): Promise<Record<string, unknown>> {
  const hashes = await Promise.all(entry.files.map(async (file) => [basename(file), await sha256File(file)]));
  return { format: source.format, name: entry.name, sha256: Object.fromEntries(hashes), notes: entry.notes };
}

/** Rounding of sums, where weights are stored as they were. */
const TOLERANCE = 1e-4;

/** Opens what was written and lets both compute: a difference beyond rounding would be a fault of ours. */
async function comparedWith(
  entry: CoderEntry,
  twin: CoderEntry,
  { dtype }: Pick<WriteOptions, 'dtype'>,
): Promise<Omit<Converted, 'dir'>> {
  const [original, written] = [await entry.load(), await twin.load()];
  try {
    const found = agreement(original, written);
    if (!Number.isFinite(found.outputs)) throw overflowing(entry);
    const isExact = (dtype ?? entry.cfg.dtype) === 'float32';
    if (isExact && !(found.outputs <= TOLERANCE))
      internal(`${entry.name} and what was written of it differ by ${found.outputs}`);
    return { name: entry.name, architecture: written.cfg.architecture, notes: entry.notes, ...found };
  } finally {
    original.dispose();
    written.dispose();
  }
}

/** Weights that are finite, one by one, and too large together. */
function overflowing({ name, files }: CoderEntry): UnfoldError {
  return new UnfoldError('not-finite', {
    where: `${name} (${files.map((file) => basename(file)).join(', ')})`,
    expected: 'outputs that fit into float32 on random rows of sizes 0.1 to 100',
    found: 'NaN or infinite ones: weights that are too large together',
    todo: 'use an earlier checkpoint of this coder: it has diverged',
  });
}

/** Fills a folder beside `out` and renames it: `out` appears whole, or stays as it was; the same from before is left alone. */
async function intoFolder(
  out: string,
  request: string,
  fill: (part: string) => Promise<{ format: string; coders: Converted[] }>,
): Promise<ConvertResult> {
  await sweepParts(await besideFolder(await targetOf(resolve(out))));
  const before = await writtenBefore<Converted>(out, request);
  if (before) return resultOf(out, before.layout, before.coders, true);
  let written = '';
  const { format, coders } = await writeFolder(out, 'dead', async (part) => {
    written = part;
    const filled = await fill(part);
    await writeWritten(part, out, { request, layout: filled.format, coders: filled.coders });
    return filled;
  });
  const moved = coders.map((coder) => ({ ...coder, dir: coder.dir.replace(written, out) }));
  return resultOf(out, format, moved, false);
}

async function resultOf(
  out: string,
  format: string,
  coders: Converted[],
  skipped: boolean,
): Promise<ConvertResult> {
  const files = await readdir(out, { recursive: true, withFileTypes: true });
  const names = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
  return { format, out, coders, files: names.sort(), skipped };
}
