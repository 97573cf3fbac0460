/**
 * @file Every kind of file that the reading code takes, small and sound, and the code that reads it to the end: what
 * trials damage. {@link subjects} makes them in a folder.
 */
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { openShards } from '../../src/shards/reader.ts';
import { findDataset } from '../../src/text/dataset.ts';
import { readPieces } from '../../src/text/pool.ts';
import { writeShards } from '../shards/helpers.ts';

/** Something that is read: a file or folder, with the files in it that may be damaged. */
export interface Subject {
  name: string;
  path: string;
  /** Relative to `path`; `''` is the path itself. */
  files: string[];
  /** Reads all of it. @returns how much there was */
  read(path: string, signal: AbortSignal): Promise<number>;
}

const FIXTURES = 'test/fixtures';
const ROWS = ['One boat.', 'Two rivers, and a “bridge”.', 'Third.'];

/** All subjects, made in `folder`. */
export async function subjects(folder: string): Promise<Subject[]> {
  await mkdir(folder, { recursive: true });
  const texts = (await readdir(join(FIXTURES, 'text'))).filter((name) => /\.(arrow|parquet)$/.test(name));
  const files = await Promise.all(
    texts.map((name) => copied(join(FIXTURES, 'text', name), join(folder, name))),
  );
  const made: [string, string | Uint8Array][] = [
    ['rows.jsonl', ROWS.map((text) => `${JSON.stringify({ id: 12, text })}\n`).join('')],
    ['ids.jsonl', '{"tokens": [1, 20, 300]}\n{"tokens": [4, 50, 600]}\n'],
    ['rows.csv', `id,text\n${ROWS.map((text, i) => `${i},"${text}"\n`).join('')}`],
    ['plain.txt', ROWS.join('\n')],
    ['plain.txt.gz', gzipSync(ROWS.join('\n'))],
  ];
  for (const [name, content] of made) await writeFile(join(folder, name), content);
  const lists = ['hf', 'hf-dict'].map((name) => copied(join(FIXTURES, 'text', name), join(folder, name)));
  const rows = ['cached_activations', 'flat_float16'].map((name) =>
    copied(join(FIXTURES, 'shards', name), join(folder, name)),
  );
  const own = join(folder, 'own');
  await mkdir(own, { recursive: true });
  await writeShards(own, [{ name: 'a', width: 4 }], 'float32', [3, 2, 4]);
  return [
    ...[...files, ...made.map(([name]) => join(folder, name))].map((path) => subject(path, [''], readText)),
    ...(await Promise.all((await Promise.all(lists)).map((path) => ofFolder(path, readText)))),
    ...(await Promise.all([...(await Promise.all(rows)), own].map((path) => ofFolder(path, readRows)))),
  ];
}

async function copied(from: string, to: string): Promise<string> {
  await cp(from, to, { recursive: true });
  return to;
}

const subject = (path: string, files: string[], read: Subject['read']): Subject => ({
  name: path.split('/').at(-1)!,
  path,
  files,
  read,
});

async function ofFolder(path: string, read: Subject['read']): Promise<Subject> {
  const names = await readdir(path, { recursive: true });
  const files: string[] = [];
  for (const name of names) if (await readFile(join(path, name)).catch(() => undefined)) files.push(name);
  return subject(path, files.sort(), read);
}

async function readText(path: string, signal: AbortSignal): Promise<number> {
  const dataset = await findDataset({ dataset: path, format: 'auto' });
  const settings = { text_column: 'text', tokens_column: null, document_separator: null };
  let count = 0;
  for await (const _piece of readPieces(dataset, settings, { cutsBeforeSpace: true }, signal, () => {}))
    count++;
  return count;
}

async function readRows(path: string): Promise<number> {
  const source = await openShards(path);
  try {
    let rows = 0;
    for (const [index, count] of source.blockRows.entries()) {
      const block = await source.readBlock(index);
      if (block.rows !== count) throw new Error(`block ${index} has ${block.rows} rows, said were ${count}`);
      for (const values of block.activations.values())
        if (values.length % Math.max(1, count) !== 0)
          throw new Error(`${values.length} values of ${count} rows`);
      for (const ids of [block.tokenId, block.seqId, block.pos])
        if (ids.length !== count) throw new Error(`${ids.length} ids of ${count} rows`);
      rows += block.rows;
    }
    return rows;
  } finally {
    await source.close();
  }
}
