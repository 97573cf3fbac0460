/** @file From a folder or a hub id to a hooked GPT-2 in memory. The model itself is model.ts. */
import { join } from 'node:path';
import { type StageContext, silent } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { exists, hashOf, readJson } from '../files.ts';
import { isListed } from '../read.ts';
import { type GPT2Config, parseGPT2Config } from './config.ts';
import { resolveModel } from './hub.ts';
import { GPT2 } from './model.ts';
import { openTensorDirectory } from './safetensors.ts';
import { hashFiles, randomWeights, readWeights } from './weights.ts';

export { GPT2 } from './model.ts';

/**
 * Loads a Hugging Face `GPT2LMHeadModel`: a folder with `config.json` and `model.safetensors` (or its shards), with or
 * without the `transformer.` prefix, or a hub id such as `openai-community/gpt2`.
 * @throws UnfoldError `bad-config`, `bad-model` (every missing or misshapen tensor in one message), `bad-safetensors`,
 * `missing-file`, and those of the download.
 */
export async function loadGPT2(dirOrId: string, context: StageContext = silent()): Promise<GPT2> {
  const dir = await resolveModel(dirOrId, {}, context);
  const configPath = join(dir, 'config.json');
  const cfg = parseGPT2Config(
    configPath,
    await readJson(configPath, 'give the folder of a Hugging Face GPT-2'),
  );
  await requireSafetensors(dir);
  const source = await openTensorDirectory(dir);
  try {
    const weightsHash = await hashFiles(source.files);
    const { weights, unused } = await readWeights(source, cfg);
    if (unused.length) context.warn(`${source.path}: not part of a GPT-2 and left out: ${unused.join(', ')}`);
    return new GPT2(cfg, weights, { weightsHash, path: dir });
  } finally {
    await source.close();
  }
}

async function requireSafetensors(dir: string): Promise<void> {
  const names = ['model.safetensors', 'model.safetensors.index.json'];
  if ((await Promise.all(names.map((name) => isListed(join(dir, name))))).some(Boolean)) return;
  const pickle = await exists(join(dir, 'pytorch_model.bin'));
  throw new UnfoldError('missing-file', {
    where: dir,
    expected: names.join(' or '),
    found: pickle ? 'only pytorch_model.bin' : 'neither',
    todo: pickle
      ? 'convert it in Python: AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(DIR)'
      : 'give the folder of a Hugging Face GPT-2, or a hub id such as openai-community/gpt2',
  });
}

/** The shape of GPT-2 small (124M). */
export const gpt2SmallConfig: GPT2Config = parseGPT2Config('GPT-2 small', {});

/** A GPT-2 with seeded random weights: for benchmarks and tests. */
export function randomGPT2(cfg: GPT2Config, seed = 0): GPT2 {
  return new GPT2(cfg, randomWeights(cfg, seed), { weightsHash: hashOf({ cfg, seed }), path: 'random' });
}
