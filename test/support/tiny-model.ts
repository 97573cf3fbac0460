/** @file A GPT-2 of two layers and width 8 in a folder, with the bundled tokeniser or one of a test's own. */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseGPT2Config } from '../../src/model/config.ts';
import { writeSafetensors } from '../../src/model/safetensors-write.ts';
import { checkpointShapes } from '../../src/model/weights.ts';
import { Random } from '../../src/random.ts';

const NOVELS = new URL('../../checkpoints/novels-4l/', import.meta.url).pathname;

/** What differs from the folder that {@link tinyModelFolder} makes by itself. */
export interface TinyModel {
  config?: Record<string, unknown>;
  /** Content of further files, or of these instead; objects become JSON. */
  files?: Record<string, string | object>;
}

/** Writes the folder; returns its path. */
export async function tinyModelFolder(dir: string, { config, files = {} }: TinyModel = {}): Promise<string> {
  await mkdir(dir, { recursive: true });
  const json = {
    model_type: 'gpt2',
    n_layer: 2,
    n_embd: 8,
    n_head: 2,
    n_positions: 32,
    vocab_size: 4096,
    bos_token_id: 4095,
    eos_token_id: 4095,
    ...config,
  };
  const random = Random.of(1, 'tiny');
  const tensors = [...checkpointShapes(parseGPT2Config('tiny', json))].map(([name, shape]) => {
    const size = shape.reduce((a: number, b) => a * b, 1);
    const isScale = /ln_.*weight$/.test(name);
    const data = Float32Array.from({ length: size }, () => (isScale ? 1 : 0.1) + 0.1 * random.normal());
    return [`transformer.${name}`, { shape, data }] as const;
  });
  await writeSafetensors(join(dir, 'model.safetensors'), new Map(tensors));
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    await copyFile(NOVELS + name, join(dir, name));
  await writeFile(join(dir, 'config.json'), JSON.stringify(json));
  for (const [name, content] of Object.entries(files))
    await writeFile(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content));
  return dir;
}

/** What tests change in a tokenizer.json. */
export interface EditableTokenizer {
  added_tokens: Record<string, unknown>[];
  normalizer: object | null;
  pre_tokenizer: object | null;
  model: Record<string, unknown> & { vocab: Record<string, number> };
}

/** The bundled tokenizer.json as an object of its own. */
export async function novelsTokenizer(): Promise<EditableTokenizer> {
  return JSON.parse(await readFile(`${NOVELS}tokenizer.json`, 'utf8')) as EditableTokenizer;
}
