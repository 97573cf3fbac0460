/** @file What import and export write has hashes: the same command finds it again, and damages are named. */
import { cp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadCoder } from '../../../src/coders/coder.ts';
import { exportCoders, importCoders } from '../../../src/coders/formats/convert.ts';
import { openCoders } from '../../../src/coders/formats/registry.ts';
import { silent } from '../../../src/context.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { verify } from '../../../src/verify/verify.ts';
import { fixture, scratchFolder } from './support.ts';

const scratch = await scratchFolder();
beforeAll(() => useBackend('cpu'));

const set = fixture('circuit-tracer/plt');
const ways: [string, (out: string, dtype?: 'float16') => ReturnType<typeof importCoders>, string][] = [
  ['import of a set', (out, dtype) => importCoders({ source: set, out, dtype }), 'layer_1/cfg.json'],
  [
    'import of one coder',
    (out, dtype) => importCoders({ source: fixture('sparsify/topk'), out, dtype }),
    'sae_weights.safetensors',
  ],
  [
    'export of a set',
    (out, dtype) => exportCoders({ coders: [set], format: 'circuit-tracer', out, dtype }),
    'layer_2.safetensors',
  ],
  [
    'export of one coder',
    (out, dtype) => exportCoders({ coders: [fixture('sparsify/topk')], format: 'sparsify', out, dtype }),
    '',
  ],
];

describe.each(ways)('%s', (name, make, damaged) => {
  const out = join(scratch, name);

  it('is found finished by the same command, and refused by another', async () => {
    const made = await make(out);
    const { mtimeMs } = await stat(made.files[0]!);
    expect(await make(out)).toEqual({ ...made, skipped: true });
    expect((await stat(made.files[0]!)).mtimeMs).toBe(mtimeMs);
    await expect(make(out, 'float16')).rejects.toMatchObject({ kind: 'not-empty' });
    expect(await verify([out], silent())).toMatchObject({ ok: true, unlisted: [] });
    expect((await openCoders(out)).entries).toHaveLength(made.coders.length);
  });

  it('is named where one bit differs, by verify and by the same command', async () => {
    const copy = join(scratch, `${name} damaged`);
    await cp(out, copy, { recursive: true });
    const first = (await make(copy)).files.find((file) => file.endsWith(damaged || '.safetensors'))!;
    const bytes = await readFile(first);
    bytes[bytes.length >> 1]! ^= 1;
    await writeFile(first, bytes);
    expect(await verify([copy], silent())).toMatchObject({ ok: false, damaged: [{ path: first }] });
    await expect(make(copy)).rejects.toMatchObject({ kind: 'damaged', lesson: { where: first } });
    await rm(copy, { recursive: true });
    expect(await make(copy)).toMatchObject({ skipped: false });
  });
});

it('an imported coder is held against its manifest when it is loaded', async () => {
  const out = join(scratch, 'loaded');
  await importCoders({ source: set, out });
  const path = join(out, 'layer_1', 'sae_weights.safetensors');
  const bytes = await readFile(path);
  bytes[bytes.length - 1]! ^= 1;
  await writeFile(path, bytes);
  await expect(loadCoder(join(out, 'layer_1'))).rejects.toMatchObject({ kind: 'damaged' });
  (await loadCoder(join(out, 'layer_0'))).dispose();
});
