/**
 * @file What several stages need to open or to name by content: model, tokeniser, corpus. Each stage opens its own, because
 * each must be able to run alone, in another process or on another machine.
 */

import { join } from 'node:path';
import { type StageContext, silent } from '../../context.ts';
import { hashOf, readJson } from '../../files.ts';
import { parseGPT2Config } from '../../model/config.ts';
import { type GPT2, loadGPT2 } from '../../model/gpt2.ts';
import { resolveModel } from '../../model/hub.ts';
import { openTensorDirectory } from '../../model/safetensors.ts';
import { assertFits, loadTokenizer, type Tokenizer } from '../../model/tokenizer.ts';
import { hashFiles } from '../../model/weights.ts';
import { cacheDirectory } from '../../text/cache.ts';
import type { Corpus } from '../../text/contexts.ts';
import { openCorpus } from '../../text/contexts.ts';
import { findDataset } from '../../text/dataset.ts';
import { fingerprint } from '../../text/fingerprint.ts';
import type { ResolvedCorpusSpec } from '../../text/spec.ts';
import type { Json } from '../stage.ts';

/** A model with its tokeniser and a corpus for it; {@link close} lets go of all. */
export interface World {
  model: GPT2;
  tokenizer: Tokenizer;
  corpus: Corpus;
  close(): void;
}

/** Opens all three; the tokeniser has to fit the model. */
export async function openWorld(
  modelPath: string,
  spec: ResolvedCorpusSpec,
  context: StageContext,
): Promise<World> {
  const tokenizer = await loadTokenizer(modelPath, context);
  const corpus = await openCorpus(spec, tokenizer, {}, context);
  const model = await loadGPT2(modelPath, context);
  const close = () => {
    model.dispose();
    corpus.close();
  };
  try {
    assertFits(tokenizer, model.cfg.d_vocab, context);
    return { model, tokenizer, corpus, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** What determines a corpus: content of the dataset, tokeniser, packing and order. Reads the files, tokenises nothing. */
export async function corpusIdentity(modelPath: string, spec: ResolvedCorpusSpec): Promise<Json> {
  const dataset = await findDataset(spec);
  const { dataset: _path, ...rest } = spec;
  const { hash } = await loadTokenizer(modelPath);
  return {
    dataset: await fingerprint(dataset, join(cacheDirectory(), 'tokens'), silent()),
    tokenizer: hash,
    ...rest,
  };
}

/** Hash of a model: of its weights and of the configuration that they are read with. */
export async function modelHash(modelPath: string, context: StageContext = silent()): Promise<string> {
  const dir = await resolveModel(modelPath, {}, context);
  const config = join(dir, 'config.json');
  const cfg = parseGPT2Config(config, await readJson(config, 'give the folder of a Hugging Face GPT-2'));
  const source = await openTensorDirectory(dir);
  try {
    return hashOf({ weights: await hashFiles(source.files), cfg });
  } finally {
    await source.close();
  }
}
