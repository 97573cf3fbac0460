/**
 * @file What to run after a pipeline, as its report says it: commands that work when they are pasted where the run was
 * asked for, whoever did it. A run in a bucket is fetched first.
 */
import { join, relative } from 'node:path';
import { pasteable } from '../../invocation.ts';
import type { NextStep } from '../../summary/summary.ts';
import type { StageMessage } from '../stage.ts';
import { RUN, SWEEP } from './train.ts';

/** What the commands name, as the summary's settings have it. */
type Message = StageMessage<{ model: string; text: { dataset: string } }>;

/** After a single coder. */
export function coderSteps(message: Message, hook: string): NextStep[] {
  const { here, out, fetch } = placesOf(message);
  const coder = here(join(out, 'train', RUN, 'final'));
  const acts = here(join(out, 'prompt.safetensors'));
  const latents = here(join(out, 'prompt-latents.safetensors'));
  return [
    ...fetch,
    evaluateStep(message, coder, 'every metric with its meaning'),
    {
      command: pasteable(
        `unfold cache --model ${here(message.settings.model)} --prompt "The old man looked at the sea." --hooks ${hook} --out ${acts}`,
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

/** After a coder over several hooks. */
export function layersSteps(message: Message): NextStep[] {
  const { here, out, fetch } = placesOf(message);
  const coder = here(join(out, 'train', RUN, 'final'));
  return [...fetch, evaluateStep(message, coder, 'every metric with its meaning')];
}

/** After a sweep. @param first name of one of its coders */
export function sweepSteps(message: Message, first: string): NextStep[] {
  const { here, out, fetch } = placesOf(message);
  const coder = here(join(out, 'train', SWEEP, first, 'final'));
  return [
    ...fetch,
    {
      command: pasteable(`unfold info ${here(join(out, 'train', SWEEP))}`),
      meaning: 'the coders, their settings and files',
    },
    evaluateStep(message, coder, 'every metric of one of them with its meaning'),
  ];
}

function evaluateStep(message: Message, coder: string, meaning: string): NextStep {
  const { here } = placesOf(message);
  const { model, text } = message.settings;
  const command = pasteable(
    `unfold evaluate --coder ${coder} --model ${here(model)} --dataset ${here(text.dataset)} --max-tokens 20000`,
  );
  return { command, meaning };
}

/** The run directory, how paths are written, and how the run gets there if it is in a bucket. */
function placesOf({ dir, reader }: Message) {
  const { cwd = process.cwd(), url } = reader ?? {};
  const here = (path: string) => written(path, cwd);
  if (url === undefined) return { out: join(dir, '..'), here, fetch: [] };
  // The folder that unfold run would have made; the bucket's own name where there is no prefix.
  const [place = ''] = url.split('?');
  const out = join('runs', place.split('/').filter(Boolean).at(-1) ?? '');
  const command = pasteable(`unfold copy ${quoted(url)} ${here(out)}`);
  return { out, here, fetch: [{ command, meaning: 'the run, from its bucket to this machine' }] };
}

/** A path as it is written from a directory. */
function written(path: string, cwd: string): string {
  const local = path.startsWith('/') ? relative(cwd, path) || '.' : path;
  return quoted(local.startsWith('../..') ? path : local);
}

/** For a shell, quoted if it needs that. */
function quoted(word: string): string {
  return /^[\w./@:-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
