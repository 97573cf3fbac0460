import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import type { CommandSpec } from '../../../src/cli/command.ts';
import encode from '../../../src/cli/commands/encode.ts';
import exportCommand from '../../../src/cli/commands/export.ts';
import importCommand from '../../../src/cli/commands/import.ts';
import info from '../../../src/cli/commands/info.ts';
import { buildProgram } from '../../../src/cli/main.ts';
import { type StageContext, silent } from '../../../src/context.ts';
import { readSafetensors } from '../../../src/model/safetensors.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { fixture as coderFixture } from '../support.ts';
import { fixture, scratchFolder } from './support.ts';

const scratch = await scratchFolder();
beforeAll(() => useBackend('cpu'));

/** Runs a command as the terminal does: parsed options, what it printed or emitted, and its warnings. */
async function run(spec: CommandSpec, line: string[], json = true) {
  const command = buildProgram().commands.find((candidate) => candidate.name() === spec.name)!;
  const { operands, unknown } = command.parseOptions(line);
  expect(unknown).toEqual([]);
  const printed: string[] = [];
  const emitted: unknown[] = [];
  const warnings: string[] = [];
  const context: StageContext = { ...silent(), warn: (message) => void warnings.push(message) };
  await spec.run(operands, command.opts(), {
    context,
    json,
    leaveQuietly: () => context.signal,
    print: (text) => void printed.push(text),
    emit: (value) => void (json && emitted.push(value)),
  });
  return { text: printed.join('\n'), emitted, warnings };
}

const lastDimension = (shape: readonly number[]) => shape.at(-1);

it.each([
  ['an OpenAI file', fixture('openai/topk_v5.pt'), fixture('openai/topk_v5.io.safetensors'), []],
  [
    'a sparsify run',
    fixture('sparsify/transcoder_skip'),
    fixture('sparsify/transcoder_skip/io.safetensors'),
    [],
  ],
  [
    'contexts of a temporal coder',
    coderFixture('saelens/temporal'),
    coderFixture('saelens/temporal/io.safetensors'),
    ['--batch-rows', '12'],
  ],
  [
    'a fine-tuned coder of SAELens 5',
    fixture('saelens_old/5.11.0_finetuned'),
    fixture('saelens_old/5.11.0_finetuned/io.safetensors'),
    [],
  ],
])('unfold encode takes %s as it is', async (name, coder, input, more) => {
  const out = join(scratch, `${name}.safetensors`);
  const { emitted } = await run(encode, ['--coder', coder, '--input', input, '--out', out, ...more]);
  expect(emitted).toHaveLength(1);
  const [theirs, ours] = [await readSafetensors(input), await readSafetensors(out)];
  for (const tensor of ['feature_acts', 'output']) {
    const [a, b] = [theirs.get(tensor)!, ours.get(tensor)!];
    expect(b.shape).toEqual(a.shape);
    const differences = Array.from(b.data as Float32Array, (v, i) => Math.abs(v - Number(a.data[i])));
    // Their float32 sums round otherwise by 1e-6 on entries of size 5.
    expect(Math.max(...differences)).toBeLessThan(1e-5);
  }
});

it('unfold encode takes one layer of a set, and says what a cross-layer coder wants', async () => {
  const io = fixture('circuit-tracer/skip.io.safetensors');
  const out = join(scratch, 'layer.safetensors');
  const line = ['--coder', fixture('circuit-tracer/skip'), '--input', io, '--out', out];
  await expect(run(encode, line)).rejects.toThrow(/--layer N/);
  await run(encode, [...line, '--layer', '1']);
  expect(lastDimension((await readSafetensors(out)).get('feature_acts')!.shape)).toBe(32);
  const clt = ['--coder', fixture('circuit-tracer/clt'), '--input', io, '--out', out];
  await expect(run(encode, clt)).rejects.toThrow(
    /width d_in = 36[\s\S]*hook_resid_mid, blocks.1.hook_resid_mid/,
  );
});

it('unfold info prints a table of a set, and one JSON object', async () => {
  const { text } = await run(info, [fixture('circuit-tracer/plt')], false);
  expect(text).toMatch(/format +circuit-tracer/);
  expect(text).toMatch(/layer_2 +jumprelu_transcoder +12 +32 +12 +blocks\.2\.mlp\.hook_in/);
  const { emitted } = await run(info, [fixture('dictionary_learning/batchtopk')]);
  expect(emitted).toMatchObject([
    { kind: 'coder', format: 'dictionary_learning', architecture: 'jumprelu', d_in: 32, d_sae: 64 },
  ]);
  const one = await run(info, [fixture('circuit-tracer/plt'), '--layer', '1']);
  expect(one.emitted).toMatchObject([{ kind: 'coder', hook_name: 'blocks.1.mlp.hook_in' }]);
});

it('unfold import and export say what they wrote and that it is the same', async () => {
  const imported = join(scratch, 'imported');
  const first = await run(importCommand, [fixture('sparsify/groupmax'), '--out', imported], false);
  expect(first.text).toMatch(/\(sparsify\)[\s\S]*h\.2 +groupmax +equal/);
  const exported = join(scratch, 'exported');
  const line = [imported, '--format', 'sparsify', '--out', exported, '--hookpoint', 'h.7'];
  const { emitted } = await run(exportCommand, line);
  expect(emitted).toMatchObject([
    { format: 'sparsify', coders: [{ outputs: 0, dir: join(exported, 'h.7') }] },
  ]);
});
