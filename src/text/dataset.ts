/**
 * @file What `dataset` may name, resolved to an ordered list of files: a file, a folder of text files, a glob, a
 * Hugging Face `datasets` folder (`save_to_disk`), or a named dataset, that is a folder with a manifest in `datasets/`
 * of the working directory or of this package. The order is that of the manifest or of the paths' code points, never
 * that of the file system.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { checked } from '../checked.ts';
import { nearest, UnfoldError } from '../errors.ts';
import { exists, hashOf, readJson } from '../files.ts';
import { fileInside } from '../inside.ts';
import { sizeOfRegular } from '../read.ts';
import type { SourceFile, TextFormat } from './formats/format.ts';
import { FORMATS, formatByEnding, formatOf } from './formats/index.ts';
import { glob, isGlob, listFiles } from './glob.ts';
import type { ResolvedCorpusSpec } from './spec.ts';

/** The manifest of a named dataset, `datasets/NAME/manifest.json`. */
export const datasetManifestSchema = z.strictObject({
  kind: z.literal('unfold-dataset'),
  name: z.string(),
  description: z.string(),
  licence: z.string(),
  source: z.string(),
  format: z.enum(['text', 'jsonl', 'csv', 'tsv', 'arrow', 'parquet']),
  text_column: z.string().optional(),
  /** What ends a document within a file; null: a file is a document. */
  document_separator: z.string().nullable(),
  files: z
    .array(
      z.strictObject({ path: z.string(), bytes: z.int(), sha256: z.string(), title: z.string().optional() }),
    )
    .min(1),
});

/** A named dataset's description. */
export type DatasetManifest = z.infer<typeof datasetManifestSchema>;

/** A dataset that is about to be read. */
export interface Dataset {
  /** As the user named it. */
  name: string;
  format: TextFormat;
  files: (SourceFile & { sha256?: string })[];
  manifest: DatasetManifest | undefined;
}

type Choice = Pick<ResolvedCorpusSpec, 'dataset' | 'format'>;

/**
 * Finds the files of a dataset.
 * @throws UnfoldError `no-dataset`, `bad-manifest`, `mixed-formats`, `empty-dataset`.
 */
export async function findDataset({ dataset, format }: Choice): Promise<Dataset> {
  if (isGlob(dataset) && !(await exists(dataset))) return ofFiles(dataset, await glob(dataset), format);
  const place = await locateDataset(dataset);
  if (!(await stat(place)).isDirectory()) return ofFiles(dataset, [place], format);
  if (await exists(join(place, 'manifest.json'))) return ofManifest(dataset, place);
  if (await exists(join(place, 'dataset_dict.json')))
    return ofFolder(dataset, await trainSplit(place), format);
  return ofFolder(dataset, place, format);
}

/** SHA-256 over the content of the files in order; where they lie does not matter. */
export function datasetHash(digests: string[], dataset: Dataset): string {
  return hashOf({ format: dataset.format.name, files: digests });
}

const BUNDLED = fileURLToPath(new URL('../../datasets', import.meta.url));

/**
 * Where a dataset that is no pattern lies: a path as it is, or a named one's folder in `datasets/`, here or in the package.
 * @throws UnfoldError `no-dataset`
 */
export async function locateDataset(dataset: string): Promise<string> {
  const places = [dataset, join('datasets', dataset), join(BUNDLED, dataset)];
  for (const place of places) if (await exists(place)) return place;
  const known = await namedDatasets();
  throw new UnfoldError('no-dataset', {
    where: `dataset "${dataset}"`,
    expected: 'a file, a folder, a glob, or the name of a folder in datasets/',
    found: `nothing at ${resolve(dataset)}`,
    todo:
      known.length > 0
        ? `did you mean ${nearest(basename(dataset), known, 2).join(' or ')}?`
        : 'check the path',
  });
}

/** Names of the datasets with a manifest, the package's and the working directory's. */
export async function namedDatasets(): Promise<string[]> {
  const names = new Set<string>();
  for (const folder of ['datasets', BUNDLED]) {
    for (const name of await readdir(folder).catch(() => [])) {
      if (await exists(join(folder, name, 'manifest.json'))) names.add(name);
    }
  }
  return [...names].sort();
}

async function ofManifest(name: string, folder: string): Promise<Dataset> {
  const path = join(folder, 'manifest.json');
  const todo = 'mend the manifest, or name the text files themselves';
  const asking = { where: path, kind: 'bad-manifest', todo };
  const expected = 'the manifest of a dataset (see datasets/README.md)';
  const manifest = checked(datasetManifestSchema, await readJson(path), { ...asking, expected });
  const files = await Promise.all(
    manifest.files.map(async ({ path: name, bytes, sha256 }) => ({
      path: await fileInside(folder, name, asking),
      bytes,
      sha256,
    })),
  );
  for (const file of files) await checkSize(file);
  return { name, manifest, files, format: FORMATS.find((format) => format.name === manifest.format)! };
}

async function checkSize(file: SourceFile): Promise<void> {
  const size = await stat(file.path).then(
    (s) => s.size,
    () => undefined,
  );
  if (size === file.bytes) return;
  throw new UnfoldError('bad-manifest', {
    where: file.path,
    expected: `${file.bytes} bytes, as the manifest says`,
    found: size === undefined ? 'no such file' : `${size} bytes`,
    todo: 'fetch the dataset again (git checkout, or unpack the package anew)',
  });
}

/** A folder: `save_to_disk`'s state.json says which files and in what order, otherwise the endings do. */
async function ofFolder(name: string, folder: string, format: string): Promise<Dataset> {
  const state = join(folder, 'state.json');
  if (await exists(state)) {
    return ofFiles(name, await filesOfState(folder, state), format === 'auto' ? 'arrow' : format);
  }
  const all = (await listFiles(folder)).map((file) => join(folder, file));
  const notes = /^(readme|license|licence)\b/i;
  return ofFiles(
    name,
    all.filter((file) => formatByEnding(file) !== undefined && !notes.test(basename(file))),
    format,
  );
}

/** `save_to_disk`'s list of the files of a folder. */
const stateSchema = z.object({ _data_files: z.array(z.object({ filename: z.string() })) });

/**
 * The files that state.json lists, in its order.
 * @throws UnfoldError `bad-dataset-folder` for another list, and for files outside of the folder
 */
export async function filesOfState(folder: string, state = join(folder, 'state.json')): Promise<string[]> {
  const todo = 'save the dataset again: Dataset.save_to_disk';
  const asking = { where: state, kind: 'bad-dataset-folder', todo };
  const expected = 'the state of a Hugging Face datasets folder';
  const { _data_files } = checked(stateSchema, await readJson(state, todo), { ...asking, expected });
  return Promise.all(_data_files.map(({ filename }) => fileInside(folder, filename, asking)));
}

/** A DatasetDict: its `train` split, as SAELens. */
async function trainSplit(folder: string): Promise<string> {
  const where = join(folder, 'dataset_dict.json');
  const todo = 'name the split’s folder';
  const schema = z.object({ splits: z.array(z.string()).default([]) });
  const { splits } = checked(schema, await readJson(where, todo), {
    where,
    kind: 'bad-dataset-folder',
    todo,
  });
  if (splits.includes('train')) return join(folder, 'train');
  throw new UnfoldError('no-dataset', {
    where: folder,
    expected: 'a split called "train"',
    found: splits.join(', ') || 'no splits',
    todo: `name one: ${join(folder, splits[0] ?? 'SPLIT')}`,
  });
}

async function ofFiles(name: string, paths: string[], asked: string): Promise<Dataset> {
  if (paths.length === 0) throw nothingThere(name);
  const reading = { expected: `a file of the dataset "${name}"`, todo: 'name the files that are meant' };
  const files = await Promise.all(
    paths.map(async (path) => ({ path, bytes: await sizeOfRegular(path, reading) })),
  );
  const formats = new Set(await Promise.all(paths.map((path) => formatOf(path, asked))));
  if (formats.size > 1) throw mixed(name, paths, [...formats]);
  return { name, files, format: [...formats][0]!, manifest: undefined };
}

function nothingThere(name: string): UnfoldError {
  return new UnfoldError('empty-dataset', {
    where: `dataset "${name}"`,
    expected: `files that end in ${FORMATS.flatMap(({ endings }) => endings).join(', ')} (also with .gz)`,
    found: 'none',
    todo: 'check the path or the pattern; name a file with another ending itself',
  });
}

function mixed(name: string, paths: string[], formats: TextFormat[]): UnfoldError {
  const example = formats.map(
    ({ name }) => `${name} (${paths.find((path) => formatByEnding(path)?.name === name) ?? '?'})`,
  );
  return new UnfoldError('mixed-formats', {
    where: `dataset "${name}"`,
    expected: 'files of one format',
    found: example.join(', '),
    todo: `choose with a pattern, such as "${join(dirname(paths[0]!), `*${formats[0]!.endings[0]}`)}"`,
  });
}
