/** @file Errors of the system, the engine and the kernels as lessons; faults of ours as they are. */
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { UnfoldError } from '../src/errors.ts';
import { explain } from '../src/explain.ts';

const dir = mkdtempSync(join(tmpdir(), 'unfold-explain-'));
mkdirSync(join(dir, 'folder'));
writeFileSync(join(dir, 'file'), '');
symlinkSync('itself', join(dir, 'itself'));

const thrown = (act: () => unknown) =>
  Promise.resolve()
    .then(act)
    .then(
      () => undefined,
      (error: unknown) => error,
    );
const lessonOf = async (act: () => unknown) => {
  const error = explain(await thrown(act));
  expect(error).toBeInstanceOf(UnfoldError);
  return error as UnfoldError;
};
const system = (fields: object) => () => {
  throw Object.assign(new Error('of the system'), fields);
};

test.each([
  ['nothing there', () => readFile(join(dir, 'none')), 'missing-file', 'ENOENT'],
  ['a folder', () => readFile(join(dir, 'folder')), 'unreadable', 'EISDIR'],
  ['a link to itself', () => readFile(join(dir, 'itself')), 'unreadable', 'ELOOP'],
  ['a file on the way', () => readFile(join(dir, 'file/below')), 'missing-file', 'ENOTDIR'],
  ['too long a name', () => open(join(dir, 'x'.repeat(300))), 'unreadable', 'ENAMETOOLONG'],
  ['a NUL byte', () => readFile(join(dir, 'a\0b')), 'bad-name', 'NUL'],
  ['a file for a folder', () => mkdir(join(dir, 'file/below')), 'not-writable', 'ENOTDIR'],
  ['a folder in the way', () => rename(join(dir, 'file'), join(dir, 'folder')), 'unreadable', 'EISDIR'],
  [
    'no permission',
    system({ code: 'EACCES', syscall: 'open', path: '/x' }),
    'unusable-file',
    'no permission',
  ],
  ['a full disk', system({ code: 'ENOSPC', syscall: 'write' }), 'disk-full', 'ENOSPC'],
  [
    'what has no name of its own',
    system({ code: 'ETXTBSY', syscall: 'open', path: '/x' }),
    'unusable-file',
    'ETXTBSY',
  ],
  ['too many files', system({ code: 'EMFILE', syscall: 'open', path: '/x' }), 'too-many-files', 'ulimit -n'],
  ['no memory', system({ code: 'ENOMEM', syscall: 'read' }), 'out-of-memory', 'GiB'],
  [
    'a port in use',
    system({ code: 'EADDRINUSE', syscall: 'listen', address: '::', port: 80 }),
    'no-network',
    'EADDRINUSE',
  ],
])('%s is a lesson', async (_what, act, kind, found) => {
  const error = await lessonOf(act);
  expect(error.kind).toBe(kind);
  expect(error.lesson.found).toContain(found);
});

test.each([
  ['a string', () => 'x'.repeat(2 ** 28).repeat(4), 'too-large'],
  ['a buffer', () => new ArrayBuffer(2 ** 53 - 1), 'out-of-memory'],
  ['an array of a kernel', () => new Float32Array(2 ** 40), 'out-of-memory'],
  ['WebAssembly', () => failing('WebAssembly.Memory(): could not allocate memory'), 'out-of-memory'],
  ['the native kernels', () => failing('std::bad_alloc'), 'out-of-memory'],
])('%s that is too large is a lesson that says how much there is', async (_what, act, kind) => {
  const error = await lessonOf(act);
  expect(error.kind).toBe(kind);
  expect(error.message).toMatch(/[GM]iB/);
});

test('causes and gathered errors are looked through', async () => {
  const cause = await thrown(() => readFile(join(dir, 'none')));
  const outer = new Error('while doing something', { cause: new Error('in between', { cause }) });
  expect(explain(outer)).toMatchObject({ kind: 'missing-file', lesson: { where: join(dir, 'none') } });
  expect(explain(new AggregateError([new Error('one'), cause]))).toMatchObject({ kind: 'missing-file' });
  const own = new UnfoldError('bad', { where: 'w', expected: 'e', found: 'f', todo: 't' });
  expect(explain(new Error('around it', { cause: own }))).toBe(own);
});

test('a refused connection names the address', async () => {
  const refused = await new Promise<unknown>((resolve) => connect(1, '127.0.0.1').on('error', resolve));
  expect(explain(refused)).toMatchObject({ kind: 'no-network', lesson: { where: '127.0.0.1:1' } });
});

test('faults of ours stay what they are, also in a circle', () => {
  const fault = new TypeError("Cannot read properties of undefined (reading 'x')");
  expect(explain(fault)).toBe(fault);
  fault.cause = fault;
  expect(explain(fault)).toBe(fault);
  expect(explain('text')).toBe('text');
});

function failing(message: string): never {
  throw new RangeError(message);
}
