import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { encodeFile } from '../../src/coders/encode-file.ts';
import { silent } from '../../src/context.ts';
import { readSafetensors } from '../../src/model/safetensors.ts';
import { writeSafetensors } from '../../src/model/safetensors-write.ts';
import { useBackend } from '../../src/tensor/backend.ts';
import { fixture } from './support.ts';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'unfold-encode-'));
  await useBackend('cpu');
});
afterAll(() => rm(scratch, { recursive: true }));

it.each(['topk', 'standard_hook_z', 'jumprelu_skip_transcoder'])(
  'encodes the rows of a file as SAELens does, in pieces: %s',
  async (name) => {
    const input = fixture(`saelens/${name}/io.safetensors`);
    const out = join(scratch, `${name}.safetensors`);
    const result = await encodeFile(
      { coder: fixture(`saelens/${name}`), input, out, batch_rows: 5 },
      silent(),
    );
    const [theirs, ours] = [await readSafetensors(input), await readSafetensors(out)];
    for (const tensor of ['feature_acts', 'output']) {
      const [a, b] = [theirs.get(tensor)!, ours.get(tensor)!];
      expect(b.shape).toEqual(a.shape);
      const differences = Array.from(b.data as Float32Array, (value, i) =>
        Math.abs(value - Number(a.data[i])),
      );
      // The recommended tolerance for these files; SAELens's own float32 noise is 3e-6.
      expect(Math.max(...differences), tensor).toBeLessThan(1e-4);
    }
    expect(result.rows).toBe(theirs.get('input')!.shape[0]);
  },
);

it('rows of another width, and a tensor that is not there, are refused by name', async () => {
  const input = join(scratch, 'rows.safetensors');
  await writeSafetensors(input, { rows: { shape: [2, 7], data: new Float32Array(14) } });
  const coder = fixture('saelens/topk_unfolded');
  const out = join(scratch, 'none.safetensors');
  const encode = (tensor: string) => encodeFile({ coder, input, out, tensor }, silent());
  await expect(encode('rows')).rejects.toThrow(/tensor rows[\s\S]*d_in = 32[\s\S]*\[2, 7\]/);
  await expect(encode('input')).rejects.toThrow(/tensor input/);
});
