/**
 * @file Everything that Unfold reads and somebody else may have made, by kind: coders of all layouts, texts, rows, models,
 * tokenisers, pipelines. Each subject is small and sound, with the code that reads it to the end.
 */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { UnfoldError } from '../../src/errors.ts';
import { loadGPT2 } from '../../src/model/gpt2.ts';
import { loadTokenizer } from '../../src/model/tokenizer.ts';
import { readPipeline, stagesOf } from '../../src/pipeline/pipeline.ts';
import { DAMAGED_CODERS, runCoders } from './coder-damage.ts';
import { damagedFields, textOf } from './mutate-fields.ts';
import { type Subject, subjects } from './read-everything.ts';
import { tinyModelFolder } from './tiny-model.ts';
import { type Outcome, trial } from './trial.ts';

/** A subject and the row of the table that it counts in. */
export interface KindOfSubject {
  kind: string;
  subject: Subject;
}

const FIXTURES = 'test/fixtures';

/** All of them, made in `folder`. */
export async function allSubjects(folder: string): Promise<KindOfSubject[]> {
  const data = await subjects(join(folder, 'data'));
  return [
    ...(await coders(join(folder, 'coders'))),
    ...data.map((subject) => ({ kind: dataKind(subject), subject })),
    ...(await models(join(folder, 'model'))),
    ...(await pipelines(join(folder, 'pipelines'))),
  ];
}

async function coders(folder: string): Promise<KindOfSubject[]> {
  const all: KindOfSubject[] = [];
  for (const [i, { folder: from, file, isFile }] of DAMAGED_CODERS.entries()) {
    const dir = join(folder, String(i), 'coder');
    await cp(join(FIXTURES, from), dir, { recursive: true });
    const read = async (path: string) => {
      await runCoders(isFile ? join(path, file) : path);
      return 1;
    };
    const isSettings = /\.(json|yaml)$/.test(file);
    const kind = isSettings ? 'coder settings' : /\.pt$/.test(file) ? 'coder pickles' : 'coder weights';
    all.push({ kind, subject: { name: from, path: dir, files: [file], read } });
  }
  return all;
}

function dataKind({ name, files }: Subject): string {
  if (files.length > 1) return files.some((file) => file.endsWith('.arrow')) ? 'data sets and rows' : 'other';
  if (/\.arrow$/.test(name)) return 'Arrow';
  return /\.parquet$/.test(name) ? 'Parquet' : 'text, CSV, JSONL';
}

async function models(folder: string): Promise<KindOfSubject[]> {
  await tinyModelFolder(folder);
  const model = async (path: string) => {
    const loaded = await loadGPT2(path);
    loaded.forward([[1, 2, 3]]).dispose();
    loaded.dispose();
    return 1;
  };
  const tokenizer = async (path: string) =>
    (await (await loadTokenizer(path)).encode('One boat, two <|endoftext|> rivers')).length;
  const of = (kind: string, file: string, read: Subject['read']): KindOfSubject => ({
    kind,
    subject: { name: file, path: folder, files: [file], read },
  });
  return [
    of('model configurations', 'config.json', model),
    of('model weights', 'model.safetensors', model),
    of('tokenisers', 'tokenizer_config.json', tokenizer),
    of('tokenisers', 'tokenizer.json', tokenizer),
  ];
}

async function pipelines(folder: string): Promise<KindOfSubject[]> {
  await mkdir(folder, { recursive: true });
  const names = ['quickstart.yaml', 'transcoders.yaml'];
  for (const name of names) await cp(join('pipelines', name), join(folder, name));
  return names.map((name) => ({
    kind: 'pipelines',
    subject: {
      name,
      path: folder,
      files: [name],
      read: async (path) => stagesOf(await readPipeline(join(path, name))).length,
    },
  }));
}

/** A part of the trials of one subject: bytes damaged by seed, and for settings places damaged one after the other. */
export interface Part {
  how: 'bytes' | 'fields';
  from: number;
  count: number;
}

/** Runs a part. @param before told what comes next: whoever watches knows by it what hung */
export async function tryPart(
  { subject }: KindOfSubject,
  { how, from, count }: Part,
  before: (what: string) => void,
): Promise<Outcome> {
  if (how === 'bytes') return trial(subject, from, count, before);
  const outcome: Outcome = { read: 0, refused: 0, faults: [] };
  const path = join(subject.path, subject.files[0]!);
  const sound = await readFile(path);
  for (const damage of everyNth(damagedFields(parse(sound.toString())), from, count)) {
    const what = `${subject.name}/${subject.files[0]}: ${damage.what}`;
    before(what);
    await writeFile(path, textOf(damage));
    try {
      await subject.read(subject.path, AbortSignal.timeout(5000));
      outcome.read++;
    } catch (error) {
      if (error instanceof UnfoldError) outcome.refused++;
      else outcome.faults.push(`${what}: ${(error as Error)?.stack ?? String(error)}`);
    }
  }
  await writeFile(path, sound);
  return outcome;
}

/** Prime, so that a part meets every place and every damage sooner or later. */
const STRIDE = 37;

function everyNth<T>(items: Iterable<T>, from: number, count: number): T[] {
  const all = [...items];
  return Array.from(
    { length: Math.min(count, all.length) },
    (_, i) => all[((from + i) * STRIDE) % all.length]!,
  );
}

/** True if the one file of the subject is settings, small enough that each place may be damaged. */
export const hasFields = ({ files, name }: Subject): boolean =>
  files.length === 1 && /\.(json|yaml)$/.test(files[0]!) && name !== 'tokenizer.json';
