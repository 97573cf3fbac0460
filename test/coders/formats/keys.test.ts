/** @file Every key of a foreign settings file and every tensor is used, without effect, or named: in all layouts. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { TRACER_KEYS } from '../../../src/coders/formats/circuit-tracer-config.ts';
import { BUFFER_KEYS, CONFIG_KEYS, TRAINER_KEYS } from '../../../src/coders/formats/dictionary-keys.ts';
import { heedKeys, type KeyTable, strangeFiles } from '../../../src/coders/formats/keys.ts';
import { openCoders } from '../../../src/coders/formats/registry.ts';
import { OLD_KEYS, saelensKeys } from '../../../src/coders/formats/saelens-keys.ts';
import { SPARSIFY_KEYS } from '../../../src/coders/formats/sparsify.ts';
import { architectures } from '../../../src/coders/registry.ts';
import { readSafetensors } from '../../../src/model/safetensors.ts';
import { writeSafetensors } from '../../../src/model/safetensors-write.ts';
import { useBackend } from '../../../src/tensor/backend.ts';
import { fixture as coderFixture } from '../support.ts';
import { fixture, scratchFolder, specimens } from './support.ts';

const scratch = await scratchFolder();
beforeAll(() => useBackend('cpu'));
let copies = 0;

/** A coder whose settings are changed. */
async function changed(path: string, file: string, change: (settings: Fields) => void): Promise<string> {
  const above = join(scratch, `copy-${copies++}`);
  const dir = join(above, basename(path));
  await cp(path, dir, { recursive: true });
  const yaml = file.endsWith('.yaml');
  const text = await readFile(join(dir, file), 'utf8');
  const settings = (yaml ? parse(text) : JSON.parse(text)) as Fields;
  change(settings);
  await writeFile(join(dir, file), yaml ? stringify(settings) : JSON.stringify(settings));
  return dir;
}
type Fields = Record<string, unknown>;

/** A folder of each layout, its file of settings, the tables of its parts and how a part is reached. */
const layouts: [string, string, string, KeyTable, (settings: Fields) => Fields][] = [
  ['saelens', coderFixture('saelens/topk'), 'cfg.json', saelensKeys(named('topk')), whole],
  ['a transcoder', coderFixture('saelens/transcoder'), 'cfg.json', saelensKeys(named('transcoder')), whole],
  [
    'a checkpoint',
    coderFixture('saelens/training_format/batchtopk'),
    'cfg.json',
    saelensKeys(named('batchtopk')),
    whole,
  ],
  ['saelens-old', fixture('saelens_old/5.11.0_standard'), 'cfg.json', OLD_KEYS, whole],
  ['saelens 2', fixture('saelens_old/2.1.3'), 'cfg.json', OLD_KEYS, whole],
  ['sparsify', fixture('sparsify/topk/h.2'), 'cfg.json', SPARSIFY_KEYS, whole],
  ['circuit-tracer', fixture('circuit-tracer/plt'), 'config.yaml', TRACER_KEYS, whole],
  ['a cross-layer transcoder', fixture('circuit-tracer/clt'), 'config.yaml', TRACER_KEYS, whole],
  ['dictionary_learning', fixture('dictionary_learning/topk'), 'config.json', CONFIG_KEYS, whole],
  [
    'its trainer',
    fixture('dictionary_learning/topk'),
    'config.json',
    TRAINER_KEYS,
    (s) => s.trainer as Fields,
  ],
  ['its buffer', fixture('dictionary_learning/topk'), 'config.json', BUFFER_KEYS, (s) => s.buffer as Fields],
];
const set = (settings: Fields, values: Fields) => void Object.assign(settings, values);

function whole(settings: Fields): Fields {
  return settings;
}
function named(name: string) {
  return architectures.find((architecture) => architecture.name === name)!;
}

const warningsOf = async (path: string) =>
  (await openCoders(path)).entries.flatMap(({ warnings }) => warnings).filter((text) => /heeded/.test(text));
const cfgOf = async (path: string) => (await openCoders(path)).entries.map(({ cfg }) => cfg);

it('of the files that the libraries wrote themselves every key is known', async () => {
  for (const { path, rule } of specimens) {
    const { entries } = await openCoders(fixture(path), { rule });
    expect([path, entries.flatMap(({ warnings }) => warnings).filter((w) => /heeded/.test(w))]).toEqual([
      path,
      [],
    ]);
  }
});

describe.each(layouts)('keys of %s', (_name, path, file, table, part) => {
  it('that nobody knows are named', async () => {
    const dir = await changed(path, file, (settings) => set(part(settings), { made_up_key: [1, 2] }));
    expect(await warningsOf(dir)).toEqual([expect.stringMatching(/not heeded: made_up_key: \[1,2\]/)]);
  });

  it('that would change the result are refused by name, unless they are off', async () => {
    for (const [key, { harmless }] of Object.entries(table.refused)) {
      const on = await changed(path, file, (settings) => set(part(settings), { [key]: 7 }));
      await expect(openCoders(on), key).rejects.toMatchObject({
        kind: 'unknown-architecture',
        message: expect.stringMatching(new RegExp(`: ${key}\\n[\\s\\S]*found +7, which means`)),
      });
      const still = await changed(path, file, (settings) => set(part(settings), { [key]: harmless[0] }));
      expect(await warningsOf(still), key).toEqual([]);
    }
  });

  it('that are neutral change nothing that is computed', async () => {
    const plain = await cfgOf(path);
    const dir = await changed(path, file, (settings) => {
      for (const key of table.neutral) part(settings)[key] ??= 1;
    });
    expect(await warningsOf(dir)).toEqual([]);
    // Our own layout keeps keys that it does not heed, so that reading and writing a file loses nothing.
    expect(await cfgOf(dir)).toMatchObject(plain);
  });

  it('are in one group each', () => {
    const all = [...table.used, ...table.neutral, ...Object.keys(table.refused)];
    expect(all.filter((key, i) => all.indexOf(key) !== i)).toEqual([]);
  });
});

it('an array or object whose entries are all nothing is off', () => {
  const table = { whose: 'x', used: [], neutral: [], refused: { kwargs: { harmless: [null], means: 'y' } } };
  expect(heedKeys({ kwargs: {} }, table, 'f')).toEqual([]);
  expect(heedKeys({ kwargs: [null] }, table, 'f')).toEqual([]);
  expect(() => heedKeys({ kwargs: { a: 1 } }, table, 'f')).toThrow(/f: kwargs/);
});

describe('what changes what a coder reads or selects', () => {
  const old = fixture('saelens_old/5.11.0_topk');
  it.each<[string, string, string, Fields, RegExp]>([
    [
      'a setting of the activation',
      old,
      'cfg.json',
      { activation_fn_kwargs: { k: 8, postact_fn: 'id' } },
      /postact_fn/,
    ],
    [
      'another width of the output',
      coderFixture('saelens/topk'),
      'cfg.json',
      { d_out: 64 },
      /: d_out[\s\S]*transcoder/,
    ],
    [
      'widths of another dictionary',
      fixture('dictionary_learning/topk'),
      'config.json',
      { trainer: { dict_class: 'AutoEncoderTopK', dict_size: 65 } },
      /dict_size = 65/,
    ],
    [
      'more layers than there are tensors',
      coderFixture('saelens/temporal'),
      'cfg.json',
      { n_attn_layers: 2 ** 31 },
      /n_attn_layers\n/,
    ],
  ])('%s is refused', async (_what, path, file, change, message) => {
    const dir = await changed(path, file, (settings) => void Object.assign(settings, change));
    await expect(openCoders(dir)).rejects.toThrow(message);
  });

  it('d_out of an autoencoder does not switch the scaling back off', async () => {
    const dir = await changed(coderFixture('saelens/topk'), 'cfg.json', (s) => set(s, { d_out: s.d_in }));
    expect((await cfgOf(dir))[0]).not.toHaveProperty('d_out');
  });

  it('rows of heads of SAELens 5, as its file says', async () => {
    const said = await changed(fixture('saelens_old/5.11.0_standard'), 'cfg.json', (s) =>
      set(s, { reshape_activations: 'hook_z' }),
    );
    expect((await cfgOf(said))[0]).toMatchObject({ reshape_activations: 'hook_z' });
    const denied = await changed(
      fixture('saelens_old/5.11.0_standard'),
      'cfg.json',
      (s) => void Object.assign(s, { hook_name: 'blocks.1.attn.hook_z', reshape_activations: 'none' }),
    );
    expect((await cfgOf(denied))[0]).toMatchObject({ reshape_activations: 'none' });
  });

  it('rows scaled outside of the coder, by a factor that is nowhere, are said', async () => {
    const dir = await changed(coderFixture('saelens/topk'), 'cfg.json', (s) =>
      set(s, { normalize_activations: 'covariance_whitening' }),
    );
    const { entries } = await openCoders(dir);
    expect(entries[0]!.warnings).toEqual([
      expect.stringMatching(/whitened rows[\s\S]*no activation_scaler.json/),
    ]);
  });

  it("a module's input is not taken for its output", async () => {
    const hookOf = async (io: string) => {
      const dir = await changed(fixture('dictionary_learning/topk'), 'config.json', (s) => {
        Object.assign(s.trainer as Fields, { submodule_name: 'resid_post_layer_2' });
        Object.assign(s.buffer as Fields, { io });
      });
      return (await cfgOf(dir))[0]!.metadata.hook_name;
    };
    expect([await hookOf('out'), await hookOf('in')]).toEqual(['blocks.2.hook_resid_post', undefined]);
  });

  it('context length and tokens left out, from the config.json of a sparsify run', async () => {
    const dir = await changed(
      fixture('sparsify/topk'),
      'config.json',
      (s) => void Object.assign(s, { ctx_len: 64, exclude_tokens: [0, 3] }),
    );
    expect((await cfgOf(join(dir, 'h.2')))[0]!.metadata).toMatchObject({
      context_size: 64,
      exclude_special_tokens: [0, 3],
    });
  });
});

describe('tensors that no architecture asks for', () => {
  it.each([
    [coderFixture('saelens/topk'), 'sae_weights.safetensors'],
    [fixture('saelens_old/5.11.0_standard'), 'sae_weights.safetensors'],
    [fixture('sparsify/topk/h.2'), 'sae.safetensors'],
    [fixture('circuit-tracer/plt'), 'layer_1.safetensors'],
    [fixture('circuit-tracer/clt'), 'W_enc_1.safetensors'],
  ])('%s', async (path, file) => {
    for (const name of ['mask', 'log_threshold', 'W_enc_2nd']) {
      const dir = join(scratch, `copy-${copies++}`, basename(path));
      await cp(path, dir, { recursive: true });
      const tensors = await readSafetensors(join(dir, file));
      tensors.set(name, { dtype: 'F32', shape: [1], data: Float32Array.of(1) });
      await writeSafetensors(join(dir, file), tensors);
      await expect(openCoders(dir), name).rejects.toMatchObject({
        kind: 'bad-coder',
        message: expect.stringContaining(name),
      });
    }
  });

  it('two thresholds contradict each other', async () => {
    const dir = join(scratch, `copy-${copies++}`);
    await cp(coderFixture('saelens/jumprelu'), dir, { recursive: true });
    const path = join(dir, 'sae_weights.safetensors');
    const tensors = await readSafetensors(path);
    tensors.set('log_threshold', tensors.get('threshold')!);
    await writeSafetensors(path, tensors);
    await expect(openCoders(dir)).rejects.toThrow(/also log_threshold/);
  });
});

it('weights beside the coder that are not read are named', async () => {
  const names = [
    'sae_weights.safetensors',
    'b_dec.npy',
    'sae-00001-of-00002.safetensors',
    'x.index.json',
    'notes.md',
  ];
  expect(strangeFiles(names, (name) => name === 'sae_weights.safetensors')).toEqual([
    expect.stringMatching(/not read: b_dec.npy, sae-00001-of-00002.safetensors, x.index.json$/),
  ]);
  const dir = join(scratch, `copy-${copies++}`);
  await cp(fixture('sparsify/topk/h.2'), dir, { recursive: true });
  await writeFile(join(dir, 'b_dec.npy'), '');
  expect((await openCoders(dir)).entries[0]!.warnings).toEqual([
    expect.stringMatching(/not read: b_dec.npy/),
  ]);
});
