/** @file Artifacts in a bucket of a real S3-speaking server, with and without conditional writes, and one that misbehaves. */
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { sha256 } from '../../src/files.ts';
import { openStore } from '../../src/storage/open.ts';
import { joinPlace } from '../../src/storage/url.ts';
import { bytesOf, describeStore, listOf, noise } from '../suites/artifact-store.ts';
import { CREDENTIALS, startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
let plain: TestS3;
/** A client of somebody else. */
let other: S3Client;
beforeAll(async () => {
  Object.assign(process.env, CREDENTIALS, {
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  });
  [s3, plain] = await Promise.all([startS3(), startS3({ conditional: false })]);
  other = new S3Client({ endpoint: s3.endpoint, region: 'us-east-1', forcePathStyle: true });
});
afterAll(() => Promise.all([s3.stop(), plain.stop()]));
beforeEach(() => s3.harm(undefined));

describeStore({
  name: 's3',
  conditional: true,
  many: 1050,
  open: (place) => openStore(s3.url(`tests/${place}`)),
});
describeStore({
  name: 's3 without conditional writes',
  conditional: false,
  many: 20,
  open: (place) => openStore(plain.url(`tests/${place}`)),
});

const content = noise(20_000_000);
const objects = async () => (await listOf(await openStore(s3.url()), 'harm')).map(({ name }) => name);

test('an upload of 20 MB whose connections are cut in the middle, twice, arrives whole; no parts are left', async () => {
  const store = await openStore(s3.url('harm-1'));
  let cuts = 0;
  s3.harm(({ method, path }) =>
    method === 'PUT' && path.includes('partNumber') && ++cuts <= 2 ? { cutRequest: 3_000_000 } : undefined,
  );
  await store.put('large', { bytes: content });
  expect(cuts).toBeGreaterThanOrEqual(5);
  expect(sha256(await bytesOf(await store.read('large')))).toBe(sha256(content));
  expect(await s3.leftUploads()).toEqual([]);
});

test('an upload whose every try fails ends in a lesson, and neither object nor parts are left', async () => {
  const store = await openStore(s3.url('harm'));
  s3.harm(({ path }) =>
    path.includes('partNumber=2') ? { answer: { status: 500, code: 'InternalError' } } : undefined,
  );
  await expect(store.put('large', { bytes: content })).rejects.toMatchObject({ kind: 'storage' });
  s3.harm(undefined);
  expect(await objects()).toEqual([]);
  expect(await s3.leftUploads()).toEqual([]);
});

test('an aborted upload leaves no parts', async () => {
  const store = await openStore(s3.url('harm'));
  const controller = new AbortController();
  s3.harm(({ path }) => {
    if (path.includes('partNumber=3')) controller.abort();
    return undefined;
  });
  await expect(store.put('large', { bytes: content }, { signal: controller.signal })).rejects.toThrow();
  expect(await objects()).toEqual([]);
  expect(await s3.leftUploads()).toEqual([]);
});

test('a download whose connection is cut again and again goes on where it was cut', async () => {
  const store = await openStore(s3.url('cut'));
  await store.put('large', { bytes: content });
  let asked = 0;
  s3.harm(({ method }) => (method === 'GET' && ++asked <= 4 ? { cutAnswer: 3_000_000 } : undefined));
  expect(sha256(await bytesOf(await store.read('large')))).toBe(sha256(content));
  expect(asked).toBe(5);
});

test('a download that never gets a byte ends in a lesson', async () => {
  const store = await openStore(s3.url('cut'));
  await store.put('small', { bytes: content.subarray(0, 1000) });
  const stream = await store.read('small', { start: 0 }).catch((error: unknown) => error);
  expect(stream).not.toBeInstanceOf(Error);
  s3.harm(() => ({ cutRequest: 0, answer: { status: 500, code: 'InternalError' } }));
  await expect(store.read('small')).rejects.toMatchObject({ kind: 'storage' });
});

test('an object that was cut short or changed behind our back is damaged, not data', async () => {
  const store = await openStore(s3.url('damage'));
  const Metadata = { sha256: sha256('all of it') };
  const spoil = (Body: string) =>
    other.send(new PutObjectCommand({ Bucket: s3.bucket, Key: 'damage/a', Body, Metadata }));
  await store.put('a', { bytes: Buffer.from('all of it') });
  await spoil('all o');
  await expect(store.read('a').then(bytesOf)).rejects.toMatchObject({ kind: 'damaged' });
  await spoil('all of IT');
  await expect(store.read('a').then(bytesOf)).rejects.toMatchObject({ kind: 'damaged' });
  expect((await bytesOf(await store.read('a', { start: 0, end: 3 }))).toString()).toBe('all');
});

test('ifAbsent whose answer is lost knows its own file', async () => {
  const store = await openStore(s3.url('lost'));
  let lost = 0;
  s3.harm(({ method }) => (method === 'PUT' && ++lost === 1 ? { loseAnswer: true } : undefined));
  expect(await store.put('a', { bytes: Buffer.from('mine') }, { ifAbsent: true })).toMatchObject({
    bytes: 4,
  });
  expect(lost).toBe(2);
});

test('an object is what any other client reads, with its SHA-256 as metadata', async () => {
  const store = await openStore(s3.url('plain'));
  await store.put('a', { bytes: Buffer.from('hallo') });
  const answer = await other.send(new GetObjectCommand({ Bucket: s3.bucket, Key: 'plain/a' }));
  expect(await answer.Body?.transformToString()).toBe('hallo');
  expect(answer.Metadata?.sha256).toBe(sha256('hallo'));
});

test('an object of another client, without a hash, is read as it is; folders made by consoles are no files', async () => {
  const options = { method: 'PUT', body: 'foreign' };
  await fetch(`${s3.endpoint}/${s3.bucket}/foreign/a`, options);
  await fetch(`${s3.endpoint}/${s3.bucket}/foreign/folder/`, { method: 'PUT', body: '' });
  const store = await openStore(s3.url('foreign'));
  expect((await listOf(store)).map(({ name }) => name)).toEqual(['a']);
  expect((await store.stat('a'))?.sha256).toBeUndefined();
  expect((await bytesOf(await store.read('a'))).toString()).toBe('foreign');
});

test('no bucket: a lesson that names it and says how to make it', async () => {
  const store = await openStore(s3.url('x').replace(s3.bucket, 'no-such-bucket'));
  await expect(listOf(store)).rejects.toMatchObject({
    kind: 'bad-storage',
    lesson: { found: 'no such bucket', todo: expect.stringContaining('aws s3 mb s3://no-such-bucket') },
  });
  await expect(store.put('a', { bytes: Buffer.from('a') })).rejects.toMatchObject({ kind: 'bad-storage' });
});

test.each([
  ['AccessDenied', 403, /access denied/],
  ['ExpiredToken', 400, /expired/],
  ['SignatureDoesNotMatch', 403, /refuses them/],
  ['RequestTimeTooSkewed', 403, /clock/],
])('%s is a lesson that another try does not help', async (code, status, found) => {
  s3.harm(() => ({ answer: { status, code } }));
  const store = await openStore(s3.url('refused'));
  const error = await listOf(store).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ kind: 'bad-storage' });
  expect(String(error)).toMatch(found);
});

test('a key that the server does not know is refused', async () => {
  process.env.AWS_ACCESS_KEY_ID = 'SOMEBODY';
  try {
    const store = await openStore(s3.url('wrong'));
    await expect(listOf(store)).rejects.toMatchObject({
      kind: 'bad-storage',
      lesson: { found: /InvalidAccessKeyId/ },
    });
  } finally {
    process.env.AWS_ACCESS_KEY_ID = CREDENTIALS.AWS_ACCESS_KEY_ID;
  }
});

test('a server that is not there is worth another try, and the lesson names the endpoint', async () => {
  const store = await openStore('s3://bucket/x?endpoint=http://127.0.0.1:1');
  const error = await store.stat('a').catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ kind: 'storage', lesson: { found: 'ECONNREFUSED' } });
  expect(String(error)).toContain('http://127.0.0.1:1');
});

test('a web server that is no S3 is said to be none', async () => {
  const server = createServer((_, answer) =>
    answer.writeHead(200, { 'content-type': 'text/html' }).end('<html><p>hello'),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const store = await openStore(`s3://bucket/x?endpoint=http://127.0.0.1:${port}`);
    await expect(listOf(store)).rejects.toMatchObject({ kind: 'bad-storage' });
  } finally {
    server.close();
  }
});

test('the endpoint may come from the environment', async () => {
  process.env.AWS_ENDPOINT_URL_S3 = s3.endpoint;
  try {
    const store = await openStore(`s3://${s3.bucket}/environment`);
    await store.put('a', { bytes: Buffer.from('a') });
    const answer = await other.send(new GetObjectCommand({ Bucket: s3.bucket, Key: 'environment/a' }));
    expect(answer.ContentLength).toBe(1);
  } finally {
    delete process.env.AWS_ENDPOINT_URL_S3;
  }
});

test('places are joined before the query', () => {
  expect(joinPlace('s3://bkt/run?endpoint=http://h:1', 'train-1')).toBe(
    's3://bkt/run/train-1?endpoint=http://h:1',
  );
  expect(joinPlace('s3://bkt', 'x y')).toBe('s3://bkt/x%20y');
  expect(joinPlace('/runs/a', 'train-1')).toBe('/runs/a/train-1');
});

test('opening a path loads no AWS SDK', () => {
  const program = `const { openStore } = await import('./src/storage/open.ts');
    await openStore('somewhere');
    console.log(process.moduleLoadList.includes('NativeModule http'));`;
  const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    encoding: 'utf8',
  });
  expect([child.stdout.trim(), child.stderr]).toEqual(['false', '']);
});
