/** @file Outputs on inputs: refused by real path, before anything is written. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { encodeFile } from '../src/coders/encode-file.ts';
import { silent } from '../src/context.ts';
import { evaluateCoders } from '../src/evaluate/evaluate-coders.ts';
import { refuseOwnInput, refuseReplacing } from '../src/own-input.ts';
import { runTraining } from '../src/train/command.ts';

const dir = mkdtempSync(join(tmpdir(), 'unfold-own-input-'));
afterAll(() => rmSync(dir, { recursive: true }));
const at = (...names: string[]) => join(dir, ...names);
mkdirSync(at('coder'));
writeFileSync(at('coder', 'cfg.json'), '{}');
writeFileSync(at('rows.safetensors'), 'rows');
symlinkSync('coder', at('linked'));
symlinkSync('rows.safetensors', at('other.safetensors'));

test('an output that is an input, or lies in one, is refused through links; what is elsewhere is not', async () => {
  for (const out of [at('coder'), at('linked'), at('linked', 'new', 'file'), at('.', 'coder', 'x')])
    await expect(refuseOwnInput('--out', out, [at('coder')]), out).rejects.toThrow(/input/);
  for (const out of [at('coder2'), at('new', 'coder'), undefined])
    await expect(refuseOwnInput('--out', out, [at('coder'), undefined, 'gpt2'])).resolves.toBeUndefined();
});

test('encode, evaluate and train leave their inputs as they are', async () => {
  const [input, out] = [at('rows.safetensors'), at('other.safetensors')];
  await expect(encodeFile({ coder: at('coder'), input, out }, silent())).rejects.toThrow(/itself/);
  const evaluation = { coder: at('linked'), shards: at('shards'), out: at('coder', 'cfg.json') };
  await expect(evaluateCoders(evaluation)).rejects.toThrow(/itself/);
  const run = { shards: at('coder'), out: at('linked', 'run'), settings: {} };
  await expect(runTraining(run, silent())).rejects.toThrow(/within the input/);
  expect(readFileSync(input, 'utf8')).toBe('rows');
  expect(readFileSync(at('coder', 'cfg.json'), 'utf8')).toBe('{}');
});

test('an evaluation may lie beside a coder, but replaces no file of it or of the model, whatever its name', async () => {
  mkdirSync(at('set', 'layer_0'), { recursive: true });
  for (const file of ['layer_0/ae.pt', 'config.yaml', 'notes.json']) writeFileSync(at('set', file), '{}');
  symlinkSync('set/notes.json', at('notes-elsewhere.json'));
  for (const name of [
    'set/layer_0/ae.pt',
    'set/config.yaml',
    'set/notes.json',
    'notes-elsewhere.json',
    'set',
  ])
    for (const given of [
      { coder: at('set'), model: at('coder'), dataset: 'novels' },
      { coder: at('coder'), model: at('set'), dataset: 'novels' },
    ])
      for (const to of ['out', 'per_token', 'per_latent'])
        await expect(evaluateCoders({ ...given, [to]: at(name) }), `${to} ${name}`).rejects.toThrow(
          /the input/,
        );
  await expect(refuseReplacing('--out', at('set', 'evaluation.json'), [at('set')])).resolves.toBeUndefined();
  writeFileSync(at('set', 'evaluation.json'), JSON.stringify({ kind: 'unfold.evaluation/1' }));
  const again = { coder: at('set'), shards: at('shards'), out: at('set', 'evaluation.json') };
  await expect(evaluateCoders(again)).rejects.not.toThrow(/the input/);
});
