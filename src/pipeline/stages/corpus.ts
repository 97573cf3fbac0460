/** @file Stage `corpus`: the text is tokenised and packed into contexts, once per dataset, tokeniser and packing. */
import { z } from 'zod';
import { loadTokenizer } from '../../model/tokenizer.ts';
import { openCorpus } from '../../text/contexts.ts';
import { corpusSpecSchema } from '../../text/spec.ts';
import type { Stage } from '../stage.ts';
import { corpusIdentity } from './world.ts';

const settings = z.strictObject({ model: z.string(), text: corpusSpecSchema });

/** Tokens are kept in the cache directory, which pipelines share; if they are lost, whoever needs them makes them again. */
export const corpusStage: Stage<z.output<typeof settings>> = {
  name: 'corpus',
  version: 1,
  needs: [],
  settings,
  outputs: [],
  reads: ({ model, text }) => [model, text.dataset],
  identity: ({ model, text }) => corpusIdentity(model, text),
  async run({ settings: { model, text } }, context) {
    const tokenizer = await loadTokenizer(model, context);
    const corpus = await openCorpus(text, tokenizer, {}, context);
    try {
      return {
        contexts: corpus.contexts,
        context_size: corpus.contextSize,
        tokens: corpus.contexts * corpus.contextSize,
        documents: corpus.pool.documents,
        hash: corpus.hash,
      };
    } finally {
      corpus.close();
    }
  },
};
