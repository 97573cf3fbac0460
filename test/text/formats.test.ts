/** @file Every format against the same four documents, written by pyarrow, `datasets`, gzip or by hand. */
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UnfoldError } from '../../src/errors.ts';
import { findDataset } from '../../src/text/dataset.ts';
import type { Piece } from '../../src/text/formats/format.ts';
import { readPieces } from '../../src/text/pool.ts';

const FIXTURES = 'test/fixtures/text';
const DOCUMENTS = ['The first document.', 'Zweites Dokument: Grüße,\nzwei Zeilen.', '第三 🙂'];
const IDS = [
  [1, 2, 3, 4, 5],
  [6, 7, 8, 9, 10],
  [11, 12, 13, 14, 15],
];
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'unfold-formats-'));
});
afterAll(() => rm(scratch, { recursive: true }));

const columns = { text_column: 'text', tokens_column: null, document_separator: null };

/** The documents of a dataset, pieces joined. */
async function read(
  dataset: string,
  over: Partial<Record<keyof typeof columns, string>> = {},
  cut = true,
): Promise<(string | number[])[]> {
  const found = await findDataset({ dataset, format: 'auto' });
  const settings = { ...columns, ...over };
  const documents: Piece[][] = [];
  const never = new AbortController().signal;
  for await (const piece of readPieces(found, settings, { cutsBeforeSpace: cut }, never, () => {})) {
    if (piece.starts) documents.push([]);
    documents.at(-1)!.push(piece);
  }
  return documents.map((pieces) =>
    'text' in pieces[0]! ? pieces.map((p) => ('text' in p ? p.text : '')).join('') : [...pieces[0]!.ids],
  );
}

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(scratch, name);
  await writeFile(path, content);
  return path;
}

const lesson = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(UnfoldError);
  return error as UnfoldError;
};

describe('the same documents come out of', () => {
  const written = [
    'text.stream.arrow',
    'text.file.arrow',
    'large_string.arrow',
    'dictionary.int64.arrow',
    'dictionary.uint64.file.arrow',
    'dictionary.delta.arrow',
    'among_all_types.arrow',
    'snappy.parquet',
    'zstd.parquet',
    'hf',
  ];
  test.each(written)('%s, as Python wrote it', async (name) => {
    expect(await read(join(FIXTURES, name))).toEqual(DOCUMENTS);
  });

  const rows = DOCUMENTS.map((text) => JSON.stringify({ id: 1, text }));
  const quoted = DOCUMENTS.map((text) => `1,"${text}"`);
  const byHand: [string, string | Uint8Array, object?][] = [
    ['lines.jsonl', `${rows.join('\n')}\n`],
    ['no-last-line-end.ndjson', rows.join('\r\n')],
    ['blank-lines.jsonl', `\n${rows.join('\n\n')}\n \n`],
    ['packed.jsonl.gz', gzipSync(rows.join('\n'))],
    ['table.csv', `id,text\n${quoted.join('\n')}\n`],
    ['byte-order-mark.csv', `\uFEFFtext,id\n${quoted.map((row) => `${row.slice(2)},1`).join('\r\n')}`],
    ['table.tsv', `id\ttext\n${quoted.map((row) => row.replace(',', '\t')).join('\n')}\n`],
    ['separated.txt', DOCUMENTS.join('<|endoftext|>'), { document_separator: '<|endoftext|>' }],
    ['separated.txt.gz', gzipSync(DOCUMENTS.join('\n\n\n')), { document_separator: '\n\n\n' }],
  ];
  test.each(byHand)('%s', async (name, content, over) => {
    expect(await read(await file(name, content), over)).toEqual(DOCUMENTS);
  });

  test('a file each, in the order of their names', async () => {
    const folder = await mkdtemp(join(scratch, 'folder-'));
    for (const [i, text] of [...DOCUMENTS.entries()].reverse())
      await writeFile(join(folder, `${i}.txt`), text);
    await writeFile(join(folder, 'README.txt'), 'not a document');
    expect(await read(folder)).toEqual(DOCUMENTS);
    expect(await read(join(folder, '{0,1}.*'))).toEqual(DOCUMENTS.slice(0, 2));
    expect(await read(`${scratch}/**/?.txt`)).toEqual(DOCUMENTS);
  });
});

describe('the same token rows come out of', () => {
  const written = ['ids.int32.arrow', 'ids.int64.arrow', 'ids.int32.parquet', 'ids.int64.parquet', 'hf-dict'];
  test.each(written)('%s, as Python wrote it', async (name) => {
    expect(await read(join(FIXTURES, name))).toEqual(IDS);
  });

  test('JSON Lines and CSV, by the column asked for', async () => {
    const rows = IDS.map((ids) => JSON.stringify({ text: 'x', mine: ids })).join('\n');
    expect(await read(await file('ids.jsonl', rows), { tokens_column: 'mine' })).toEqual(IDS);
    const table = `tokens\n${IDS.map((ids) => `"[${ids}]"`).join('\n')}`;
    expect(await read(await file('ids.csv', table))).toEqual(IDS);
  });
});

describe('long documents', () => {
  const words = Array.from({ length: 40_000 }, (_, i) => `word${i}${i % 11 === 0 ? '.\n\n' : ''}`).join(' ');

  test('come in pieces that join to the whole, each cut in front of a space', async () => {
    const found = await findDataset({ dataset: await file('long.txt', words), format: 'auto' });
    const pieces: string[] = [];
    for await (const piece of readPieces(
      found,
      columns,
      { cutsBeforeSpace: true },
      new AbortController().signal,
      () => {},
    )) {
      if ('text' in piece) pieces.push(piece.text);
    }
    expect(pieces.join('')).toBe(words);
    expect(pieces.length).toBeGreaterThan(20);
    expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThan(5000);
    for (const piece of pieces.slice(1)) expect(piece).toMatch(/^[ \n]/);
    for (const piece of pieces.slice(0, -1)) expect(piece).toMatch(/\S$/);
  });

  test('without a space stay whole, and so they do for a tokeniser that must not be cut', async () => {
    const solid = 'x'.repeat(600_000);
    expect(await read(await file('solid.txt', solid))).toEqual([solid]);
    expect(await read(await file('whole.txt', words), {}, false)).toEqual([words]);
  });

  test('keep a separator that falls on the border of two reads', async () => {
    const filler = 'a b'.repeat(87_381);
    const text = `${filler}\n<end>\n${filler}`;
    expect(await read(await file('border.txt', text), { document_separator: '\n<end>\n' })).toEqual([
      filler,
      filler,
    ]);
  });
});

describe('what cannot be read says where', () => {
  const bad: [string, string | Uint8Array, string, RegExp][] = [
    ['empty.txt', '', 'empty-text', /empty\.txt/],
    ['empty.jsonl', '\n\n', 'empty-text', /no row with text/],
    ['binary.txt', Buffer.from([72, 105, 0, 1, 2]), 'bad-text', /NUL byte at byte 2/],
    ['latin1.txt', Buffer.from('caf\xe9 au lait', 'latin1'), 'bad-text', /not UTF-8[\s\S]*iconv/],
    ['cut.txt', Buffer.from([0xe4, 0xbd]), 'bad-text', /cut off at the end/],
    ['cut.txt.gz', gzipSync('x'.repeat(9999)).subarray(0, 30), 'bad-text', /whole gzip/],
    ['broken.jsonl', '{"text": "a"}\n{"text": ', 'bad-json', /broken\.jsonl:2/],
    ['array.json', '[{"text": "a"}]', 'bad-json', /array\.json:1[\s\S]*jq -c/],
    [
      'column.jsonl',
      '{"text": "a"}\n{"body": "b"}',
      'missing-column',
      /column\.jsonl:2[\s\S]*columns "body"[\s\S]*--text-column/,
    ],
    ['number.jsonl', '{"text": 3}', 'bad-text', /a number/],
    ['column.csv', 'id,body\n1,a', 'missing-column', /columns "id", "body"/],
    ['ragged.csv', 'id,text\n1,a\n2', 'bad-text', /ragged\.csv:3/],
    ['ids.jsonl', '{"tokens": [1, -2]}', 'bad-tokens', /the id -2/],
    ['null-id.jsonl', '{"tokens": [1, null]}', 'bad-tokens', /null-id\.jsonl:1[\s\S]*the id null/],
    ['text-id.jsonl', '{"tokens": [1, "2"]}', 'bad-tokens', /the id "2"/],
    ['flag-id.jsonl', '{"tokens": [true]}', 'bad-tokens', /the id true/],
    ['words.csv', 'tokens\n1 0x10', 'bad-tokens', /words\.csv:2[\s\S]*the id "0x10"/],
    ['twice.csv', 'text,text\na,b', 'bad-text', /2 columns of that name/],
    ['noise.arrow', 'this is no Arrow file at all', 'bad-arrow', /noise\.arrow/],
    ['noise.parquet', 'this is no Parquet file', 'bad-parquet', /noise\.parquet/],
  ];
  test.each(bad)('%s', async (name, content, kind, message) => {
    const error = await lesson(read(await file(name, content)));
    expect(error.kind).toBe(kind);
    expect(error.message).toMatch(message);
  });

  test('a compressed Arrow file, with the remedy', async () => {
    expect((await lesson(read(join(FIXTURES, 'lz4.arrow')))).message).toMatch(/without compression/);
  });

  test('an Arrow column of another type, by file, column and type', async () => {
    const refused: [string, Parameters<typeof read>[1], RegExp][] = [
      [
        'ids.int64.arrow',
        { text_column: 'input_ids' },
        /ids\.int64\.arrow[\s\S]*"input_ids"[\s\S]*list<int64>/,
      ],
      ['among_all_types.arrow', { text_column: 'dec' }, /text in column "dec"[\s\S]*decimal/],
      ['among_all_types.arrow', { tokens_column: 'u' }, /token ids in column "u"[\s\S]*union/],
      ['dictionary.int64.arrow', { tokens_column: 'text' }, /dictionary<int64, utf8>/],
      ['dictionary.int64.arrow', { text_column: 'n' }, /text in column "n"[\s\S]*null/],
      ['ids.null.arrow', {}, /row 1[\s\S]*the id null/],
    ];
    for (const [name, over, message] of refused)
      expect((await lesson(read(join(FIXTURES, name), over))).message).toMatch(message);
  });

  test('a missing column of Arrow and Parquet, with the columns there are', async () => {
    for (const name of ['text.stream.arrow', 'snappy.parquet']) {
      const error = await lesson(read(join(FIXTURES, name), { text_column: 'body' }));
      expect(error.message).toMatch(/columns "title", "text"/);
    }
  });

  test('a list of files that names one outside of its folder', async () => {
    const folder = await mkdtemp(join(scratch, 'listed-'));
    await symlink('/etc/hostname', join(folder, 'link.arrow'));
    for (const filename of ['../hf/data.arrow', '/etc/hostname', 'link.arrow', '', 7]) {
      await writeFile(join(folder, 'state.json'), JSON.stringify({ _data_files: [{ filename }] }));
      const error = await lesson(read(folder));
      expect([error.kind, error.lesson.where]).toEqual([
        'bad-dataset-folder',
        expect.stringContaining(join(folder, 'state.json')),
      ]);
    }
    const about = {
      kind: 'unfold-dataset',
      name: '',
      description: '',
      licence: '',
      source: '',
      format: 'text',
    };
    const files = [{ path: '../a.txt', bytes: 1, sha256: '' }];
    const manifest = { ...about, document_separator: null, files };
    await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
    expect(await lesson(read(folder))).toMatchObject({
      kind: 'bad-manifest',
      lesson: { expected: 'names of files in this folder' },
    });
  });

  test('a dataset that is not there, with the nearest names', async () => {
    expect((await lesson(read('novel'))).message).toMatch(/did you mean novels/);
  });

  test('a folder without text, and one with two formats', async () => {
    const folder = await mkdtemp(join(scratch, 'mixed-'));
    expect((await lesson(read(folder))).kind).toBe('empty-dataset');
    await writeFile(join(folder, 'a.txt'), 'a');
    await writeFile(join(folder, 'b.csv'), 'text\nb');
    expect((await lesson(read(folder))).kind).toBe('mixed-formats');
  });
});

describe('more text than one string can hold is refused soon, with the limit', () => {
  const solid = gzipSync('x'.repeat(2 ** 24));
  /** 288 MiB in a few hundred kilobytes: gzip's members stand one after another. */
  const bomb = (head: string, tail: string) =>
    Buffer.concat([gzipSync(head), ...Array.from({ length: 18 }, () => solid), gzipSync(tail)]);
  test.each([
    ['bomb.txt.gz', '', '', /documents of up to 268435456 characters/],
    ['bomb.jsonl.gz', '{"text": "', '"}\n', /lines of up to 268435456 characters/],
    ['bomb.csv.gz', 'text\n"', '"\n', /bomb\.csv\.gz:2[\s\S]*rows of up to 67108864 bytes/],
  ])('%s', async (name, head, tail, message) => {
    const error = await lesson(read(await file(name, bomb(head, tail))));
    expect([error.kind, error.message]).toEqual(['bad-text', expect.stringMatching(message)]);
  });
});
