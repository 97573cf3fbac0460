/** @file Stage `summary`: what was trained, how good it is, what it found; as data, as Markdown, for the terminal. */

import { join, relative } from 'node:path';
import { z } from 'zod';
import { type Coder, loadCoder } from '../../coders/coder.ts';
import { exclusionsOf } from '../../evaluate/exclusions.ts';
import { writeFileAtomically, writeJson } from '../../files.ts';
import { pasteable } from '../../invocation.ts';
import { renderMarkdown } from '../../summary/render.ts';
import { type NextStep, type SummaryOptions, summarise } from '../../summary/summary.ts';
import { corpusSpecSchema } from '../../text/spec.ts';
import type { Json, Stage, StageMessage } from '../stage.ts';
import { RUN } from './train.ts';
import { corpusIdentity, openWorld } from './world.ts';

const settings = z.strictObject({
  title: z.string(),
  model: z.string(),
  /** Text the coder was trained on, for the report's words. */
  trained_on: z.string(),
  /** Text in which passages are looked for. */
  text: corpusSpecSchema,
  features: z.int().positive(),
  examples: z.int().positive(),
  reference: z.record(z.string(), z.number()),
  reference_note: z.string().optional(),
});
type Settings = z.output<typeof settings>;

export const SUMMARY = 'summary.json';

export const summaryStage: Stage<Settings> = {
  name: 'summary',
  version: 3,
  needs: ['train', 'evaluate'],
  settings,
  outputs: [SUMMARY, 'summary.md'],
  async identity({ model, text, title, trained_on, ...rest }) {
    return { title, text: await corpusIdentity(model, text), ...rest } as Json;
  },
  async run(message, context) {
    const { model: path, text } = message.settings;
    const world = await openWorld(path, text, context);
    const coder = await loadCoder(join(message.inputs.train!.dir, RUN));
    try {
      const exclusions = exclusionsOf(coder, world.tokenizer.specialIds);
      const words = { ...wordsOf(message, coder), exclusions };
      const { model, tokenizer, corpus: tokens } = world;
      const summary = await summarise({ ...words, coder, model, tokenizer, tokens }, context);
      await writeFileAtomically(join(message.dir, 'summary.md'), renderMarkdown(summary));
      await writeJson(join(message.dir, SUMMARY), summary);
      return { path: SUMMARY, features: summary.features.map(({ latent }) => latent) };
    } finally {
      coder.dispose();
      world.close();
    }
  },
};

type Words = Omit<SummaryOptions, 'coder' | 'model' | 'tokenizer' | 'tokens'>;

function wordsOf({ settings, inputs, dir }: StageMessage<Settings>, coder: Coder): Words {
  const { title, features, examples, reference, reference_note } = settings;
  const { metrics, tokens } = inputs.evaluate!.result as {
    metrics: Words['metrics'];
    tokens: { counted: number };
  };
  return {
    title,
    what: paragraph(settings, coder, Number(inputs.train!.result.tokens)),
    metrics,
    counted: tokens.counted,
    features,
    examples,
    reference,
    ...(reference_note && { reference_note }),
    next: nextSteps(settings, coder, join(dir, '..')),
  };
}

/** "A TopK sparse autoencoder: 2,048 latents, at most 16 of them active on a token, …" */
function paragraph({ model, trained_on }: Settings, { cfg }: Coder, tokens: number): string {
  const count = (value: number) => value.toLocaleString('en-US');
  const k = 'k' in cfg ? `, at most ${String(cfg.k)} of them active on a token` : '';
  const kind =
    cfg.architecture === 'topk' ? 'TopK sparse autoencoder' : `sparse autoencoder (${cfg.architecture})`;
  return (
    `A ${kind} that rewrites the activations of ${nameOf(model)} at ${String(cfg.metadata.hook_name)} (${cfg.d_in} numbers a token) ` +
    `as a sum of ${count(cfg.d_sae)} learned directions${k}. It was trained on ${count(tokens)} tokens of ${nameOf(trained_on)}. ` +
    'Everything below is measured on held-out text, at the positions that it was trained on.'
  );
}

function nameOf(path: string): string {
  return path.split('/').filter(Boolean).at(-1) ?? path;
}

/** Commands that work when pasted where the run was made. */
function nextSteps({ model, text }: Settings, { cfg }: Coder, out: string): NextStep[] {
  const coder = here(join(out, 'train', RUN, 'final'));
  const hook = String(cfg.metadata.hook_name);
  const acts = here(join(out, 'prompt.safetensors'));
  const latents = here(join(out, 'prompt-latents.safetensors'));
  return [
    {
      command: pasteable(
        `unfold evaluate --coder ${coder} --model ${here(model)} --dataset ${here(text.dataset)} --max-tokens 20000`,
      ),
      meaning: 'every metric with its meaning',
    },
    {
      command: pasteable(
        `unfold cache --model ${here(model)} --prompt "The old man looked at the sea." --hooks ${hook} --out ${acts}`,
      ),
      meaning: 'the activations of a prompt of yours …',
    },
    {
      command: pasteable(`unfold encode --coder ${coder} --input ${acts} --tensor ${hook} --out ${latents}`),
      meaning: '… and the latents that fire on it',
    },
    {
      command: `python -c "from sae_lens import SAE; print(SAE.load_from_disk('${coder}').cfg)"`,
      meaning: 'the same coder in SAELens',
    },
  ];
}

/** A path as it is written from the current directory, quoted if a shell needs that. */
function here(path: string): string {
  const local = path.startsWith('/') ? relative(process.cwd(), path) || '.' : path;
  const shown = local.startsWith('../..') ? path : local;
  return /^[\w./@:-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", "'\\''")}'`;
}
