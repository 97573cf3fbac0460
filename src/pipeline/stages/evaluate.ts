/** @file Stage `evaluate`: the coder on held-out text, alone and in the model. */
import { join } from 'node:path';
import { z } from 'zod';
import { loadCoder } from '../../coders/coder.ts';
import { evaluate } from '../../evaluate/evaluate.ts';
import { exclusionsOf } from '../../evaluate/exclusions.ts';
import { evaluationJson, writePerLatent } from '../../evaluate/report.ts';
import { writeJson } from '../../files.ts';
import { corpusSpecSchema } from '../../text/spec.ts';
import type { Json, Stage } from '../stage.ts';
import { RUN } from './train.ts';
import { corpusIdentity, openWorld } from './world.ts';

const settings = z.strictObject({
  model: z.string(),
  text: corpusSpecSchema,
  batch_contexts: z.int().positive(),
});

export const EVALUATION = 'evaluation.json';

export const evaluateStage: Stage<z.output<typeof settings>> = {
  name: 'evaluate',
  version: 1,
  needs: ['train'],
  settings,
  outputs: [EVALUATION],
  async identity({ model, text, batch_contexts }) {
    return { text: await corpusIdentity(model, text), batch_contexts };
  },
  async run({ settings: { model: path, text, batch_contexts }, inputs, dir }, context) {
    const world = await openWorld(path, text, context);
    const coder = await loadCoder(join(inputs.train!.dir, RUN));
    try {
      const { model, tokenizer, corpus } = world;
      const exclusions = exclusionsOf(coder, tokenizer.specialIds);
      const evaluation = await evaluate(
        { coder, model, tokens: corpus, exclusions, batch_contexts },
        context,
      );
      await writePerLatent(join(dir, 'latents.safetensors'), evaluation);
      await writeJson(join(dir, EVALUATION), evaluationJson(evaluation, { dataset: text.dataset }));
      return { path: EVALUATION, metrics: evaluation.metrics as Json, tokens: { ...evaluation.tokens } };
    } finally {
      coder.dispose();
      world.close();
    }
  },
};
