/** @file Results of synth vouch for themselves: verify names what has changed. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { silent } from '../../src/context.ts';
import { recordFiles } from '../../src/inventory.ts';
import { writeSealed } from '../../src/seal.ts';
import { verify } from '../../src/verify/verify.ts';

it('names a picture and a benchmark that are not what was written', async () => {
  const out = await mkdtemp(join(tmpdir(), 'unfold-toy-'));
  const picture = join(out, 'superposition.svg');
  await writeFile(picture, '<svg/>');
  const files = await recordFiles(out, ['superposition.svg']);
  await writeSealed(join(out, 'superposition.json'), { format: 'unfold-toy-1', models: [], files });
  await writeSealed(join(out, 'synth.json'), { format: 'unfold-synth-1', coders: [] });
  expect(await verify([out], silent())).toMatchObject({ ok: true, unlisted: [] });
  await writeFile(picture, '<svg>');
  await writeFile(join(out, 'synth.json'), '{"format":"unfold-synth-1","coders":[1],"seal":"0"}');
  const { damaged } = await verify([out], silent());
  expect(damaged.map(({ path }) => path)).toEqual([picture, join(out, 'synth.json')]);
  await rm(out, { recursive: true });
});
