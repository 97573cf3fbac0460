/**
 * @file What every artifact store does, whatever it is made of. A variant's test calls this with a function that opens
 * stores on an empty place.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sha256 } from '../../src/files.ts';
import type { ArtifactStore, StoredFile } from '../../src/storage/store.ts';

/** A variant. */
export interface StoreVariant {
  name: string;
  /** A store on a place of its own, empty at the first call for that name. */
  open(place: string): Promise<ArtifactStore>;
  /** Of writers with ifAbsent at the same moment exactly one succeeds; false: at least one. */
  conditional: boolean;
  /** Files of the long list; a page of S3 has 1,000. */
  many: number;
}

/** All bytes of a stream. */
export async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** All that a store lists. */
export async function listOf(store: ArtifactStore, prefix?: string): Promise<StoredFile[]> {
  const files: StoredFile[] = [];
  for await (const file of store.list(prefix)) files.push(file);
  return files;
}

const text = (content: string) => ({ bytes: Buffer.from(content) });

/** Bytes that look random and are always the same. */
export function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0, x = 1; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

/** Declares the tests. */
export function describeStore({ name, open, conditional, many }: StoreVariant): void {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'unfold-store-'));
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test(`${name}: what is put is there, with its size and hash, and is read back`, async () => {
    const store = await open('put');
    const put = await store.put('stage-1/a.txt', text('hallo'));
    expect(put).toMatchObject({ name: 'stage-1/a.txt', bytes: 5, sha256: sha256('hallo') });
    expect(await store.stat('stage-1/a.txt')).toMatchObject({ name: 'stage-1/a.txt', bytes: 5 });
    expect((await bytesOf(await store.read('stage-1/a.txt'))).toString()).toBe('hallo');
  });

  test(`${name}: another content replaces a file and has another version`, async () => {
    const store = await open('replace');
    await store.put('a', text('one'));
    const before = await store.stat('a');
    await store.put('a', text('two'));
    const after = await store.stat('a');
    expect((await bytesOf(await store.read('a'))).toString()).toBe('two');
    expect(before?.version).toBeTypeOf('string');
    expect(after?.version).not.toBe(before?.version);
    expect((await listOf(store))[0]?.version).toBe(after?.version);
  });

  test(`${name}: a file without bytes is a file`, async () => {
    const store = await open('empty');
    await store.put('nothing', { bytes: new Uint8Array(0) });
    expect(await store.stat('nothing')).toMatchObject({ bytes: 0 });
    expect(await bytesOf(await store.read('nothing'))).toHaveLength(0);
    expect(await bytesOf(await store.read('nothing', { start: 0, end: 5 }))).toHaveLength(0);
  });

  test(`${name}: ranges are as slices: cut at the end, empty behind it`, async () => {
    const store = await open('ranges');
    await store.put('digits', text('0123456789'));
    const read = async (start: number, end?: number) =>
      (await bytesOf(await store.read('digits', { start, ...(end !== undefined && { end }) }))).toString();
    expect(await read(2, 5)).toBe('234');
    expect(await read(0, 1)).toBe('0');
    expect(await read(7)).toBe('789');
    expect(await read(8, 100)).toBe('89');
    expect(await read(10)).toBe('');
    expect(await read(12, 20)).toBe('');
    expect(await read(4, 4)).toBe('');
  });

  test(`${name}: what is not there is undefined, or a lesson of kind missing-file; removing it is no error`, async () => {
    const store = await open('missing');
    expect(await store.stat('no/such')).toBeUndefined();
    await expect(store.read('no/such')).rejects.toMatchObject({ kind: 'missing-file' });
    await expect(store.read('no/such', { start: 3, end: 3 })).rejects.toMatchObject({ kind: 'missing-file' });
    await store.remove('no/such');
    expect(await listOf(store, 'no')).toEqual([]);
  });

  test(`${name}: a removed file is gone, its neighbours are not`, async () => {
    const store = await open('remove');
    await store.put('folder/a', text('a'));
    await store.put('folder/b', text('b'));
    await store.remove('folder/a');
    expect(await store.stat('folder/a')).toBeUndefined();
    expect((await listOf(store)).map((file) => file.name)).toEqual(['folder/b']);
  });

  test(`${name}: a list has whole segments only, in order of bytes`, async () => {
    const store = await open('list');
    for (const file of ['run/b', 'run/a/1', 'run-2/x', 'run/a.txt', 'runner'])
      await store.put(file, text(file));
    expect((await listOf(store)).map((file) => file.name)).toEqual([
      'run-2/x',
      'run/a.txt',
      'run/a/1',
      'run/b',
      'runner',
    ]);
    expect((await listOf(store, 'run')).map((file) => file.name)).toEqual(['run/a.txt', 'run/a/1', 'run/b']);
    expect((await listOf(store, 'run/b')).map((file) => file.name)).toEqual(['run/b']);
    expect((await listOf(store, 'ru')).map((file) => file.name)).toEqual([]);
  });

  test(`${name}: odd names come back as they went in`, async () => {
    const store = await open('odd');
    const names = [
      'ärger/日本 語.txt',
      'a b+c&d=e?f#g%h',
      "it's (1) [2] {3}!",
      'quo"te<>;,@$',
      '.hidden',
      'x'.repeat(200),
      '😀',
    ];
    for (const file of names) await store.put(file, text(file));
    expect((await listOf(store)).map((file) => file.name).sort()).toEqual([...names].sort());
    for (const file of names) expect((await bytesOf(await store.read(file))).toString()).toBe(file);
  });

  test.each([
    '',
    '/etc/passwd',
    '../up',
    'a/../../b',
    'a//b',
    './a',
    'a\\b',
    'a\0b',
    'line\nbreak',
    'x.part',
    'é'.repeat(600),
  ])(`${name}: the name %j is refused`, async (bad) => {
    const store = await open('names');
    await expect(store.put(bad, text('x'))).rejects.toMatchObject({ kind: 'bad-name' });
    await expect(store.read(bad)).rejects.toMatchObject({ kind: 'bad-name' });
    await expect(store.stat(bad)).rejects.toMatchObject({ kind: 'bad-name' });
    await expect(store.remove(bad)).rejects.toMatchObject({ kind: 'bad-name' });
  });

  test(`${name}: ${many} files are all listed, in order`, async () => {
    const store = await open('many');
    const names = Array.from({ length: many }, (_, i) => `d/${String(i).padStart(5, '0')}`);
    for (let i = 0; i < names.length; i += 50)
      await Promise.all(names.slice(i, i + 50).map((file) => store.put(file, text(file))));
    expect((await listOf(store, 'd')).map((file) => file.name)).toEqual(names);
  });

  test(`${name}: 20 MB from a file are read back whole and by ranges; what is sent is counted`, async () => {
    const store = await open('large');
    const content = noise(20_000_003);
    const path = join(dir, 'large');
    await writeFile(path, content);
    let sent = 0;
    const put = await store.put('large', { path }, { onBytes: (bytes) => (sent = bytes) });
    expect(put).toMatchObject({ bytes: content.length, sha256: sha256(content) });
    expect(sent).toBe(content.length);
    expect(sha256(await bytesOf(await store.read('large')))).toBe(sha256(content));
    const range = await bytesOf(await store.read('large', { start: 15_999_990, end: 16_000_010 }));
    expect(range.equals(content.subarray(15_999_990, 16_000_010))).toBe(true);
  });

  test(`${name}: of a file that grows, as much is stored as was asked for`, async () => {
    const store = await open('grows');
    const path = join(dir, 'log');
    await writeFile(path, 'line 1\nline 2\n');
    expect(await store.put('log', { path, bytes: 7 })).toMatchObject({
      bytes: 7,
      sha256: sha256('line 1\n'),
    });
    expect((await bytesOf(await store.read('log'))).toString()).toBe('line 1\n');
  });

  test(`${name}: with ifAbsent a file is not replaced`, async () => {
    const store = await open('absent');
    await store.put('a', text('first'), { ifAbsent: true });
    await expect(store.put('a', text('second'), { ifAbsent: true })).rejects.toMatchObject({
      kind: 'exists',
    });
    expect((await bytesOf(await store.read('a'))).toString()).toBe('first');
  });

  test(`${name}: of writers at the same moment ${conditional ? 'exactly one succeeds' : 'at least one succeeds'}, and the file is whole`, async () => {
    const store = await open('race');
    const writers = Array.from({ length: 8 }, (_, i) =>
      store.put('a', text(`writer ${i}`), { ifAbsent: true }),
    );
    const results = await Promise.allSettled(writers);
    const won = results.filter(({ status }) => status === 'fulfilled').length;
    expect(won).toBeGreaterThanOrEqual(1);
    if (conditional) expect(won).toBe(1);
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ kind: 'exists' });
    expect((await bytesOf(await store.read('a'))).toString()).toMatch(/^writer \d$/);
  });

  test(`${name}: a put that is aborted leaves nothing and throws the signal's reason`, async () => {
    const store = await open('abort');
    const controller = new AbortController();
    const reason = new Error('enough');
    const put = store.put(
      'a',
      { bytes: noise(20_000_000) },
      { signal: controller.signal, onBytes: () => controller.abort(reason) },
    );
    await expect(put).rejects.toBe(reason);
    expect(await listOf(store)).toEqual([]);
  });

  test(`${name}: a local file that is not there is no stored file`, async () => {
    const store = await open('no-source');
    await expect(store.put('a', { path: join(dir, 'no such file') })).rejects.toThrow(/ENOENT/);
    expect(await listOf(store)).toEqual([]);
  });
}
