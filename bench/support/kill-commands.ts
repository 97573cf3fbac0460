/**
 * @file The single commands, struck as the runs are (kills.ts): each is given its inputs once, run undisturbed, and then
 * struck and run again with the same words.
 */
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../../src/random.ts';
import { attempt, judge, newStruck, randomStrike, type Struck, strikeAt } from './strike.ts';

const MODEL = '--model checkpoints/novels-4l';
const TEXT = `${MODEL} --dataset datasets/novels-heldout --pool-tokens 10000 --context-size 32`;
const SET = 'test/fixtures/formats/circuit-tracer/plt';
const HOOK = 'blocks.0.hook_resid_pre';

/** What the commands read: made undisturbed, in BASE. */
const INPUTS = [
  `harvest ${TEXT} --max-tokens 2048 --hooks ${HOOK} --shard-rows 512 --batch-contexts 8 --out BASE/shards`,
  'train --shards BASE/shards --d-sae 64 --k 4 --training-tokens 2048 --train-batch-size-tokens 64 --lr 0.004 --out BASE/coder',
  `cache ${MODEL} --prompt "The-old-man-looked-at-the-sea" --hooks ${HOOK} --out BASE/rows.safetensors`,
];

/** The commands by name; each writes to OUT. */
export const STRUCK_COMMANDS: Readonly<Record<string, string>> = {
  harvest: `harvest ${TEXT} --max-tokens 2048 --hooks ${HOOK} --shard-rows 256 --batch-contexts 8 --out OUT`,
  train:
    'train --shards BASE/shards --d-sae 64 --k 4 --training-tokens 4096 --train-batch-size-tokens 64 --lr 0.004 --set checkpoint_every_steps=4 --out OUT',
  finetune: `finetune --coder BASE/coder/final ${TEXT} --training-tokens 512 --train-batch-size-tokens 64 --set checkpoint_every_steps=2 --eval-tokens 64 --out OUT`,
  evaluate: `evaluate --coder BASE/coder/final ${TEXT} --max-tokens 512 --out OUT/evaluation.json`,
  encode: `encode --coder BASE/coder/final --input BASE/rows.safetensors --tensor ${HOOK} --out OUT/latents.safetensors`,
  cache: `cache ${MODEL} --prompt "The-old-man" --hooks all --out OUT/acts.safetensors`,
  import: `import ${SET} --out OUT/coders`,
  export: `export ${SET} --format circuit-tracer --out OUT/coders`,
  synth: 'synth pipelines/synth-smoke.yaml --training-tokens 8192 --samples 1024 --out OUT',
  copy: 'copy BASE OUT/copy',
};

/** Strikes each of the commands `strikes` times. */
export async function strikeCommands(
  names: readonly string[],
  strikes: number,
  seed: number,
): Promise<Record<string, Struck>> {
  const dir = await mkdtemp(join(tmpdir(), 'unfold-kills-'));
  const [base, work, cache] = [join(dir, 'base'), join(dir, 'work'), join(dir, 'cache')];
  const wordsOf = (line: string) =>
    line.split(' ').map((word) => word.replace('BASE', base).replace('OUT', work).replaceAll('"', ''));
  try {
    await mkdir(base);
    for (const line of INPUTS) await must({ args: wordsOf(line), cache });
    const all: Record<string, Struck> = {};
    for (const name of names) {
      const target = { name, args: wordsOf(STRUCK_COMMANDS[name]!), work, cache };
      all[name] = newStruck();
      await mustInto(target, strikes, Random.of(seed, name), all[name]);
      process.stderr.write(`${name}: ${JSON.stringify(all[name])}\n`);
    }
    return all;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function mustInto(
  target: Parameters<typeof judge>[0],
  strikes: number,
  random: Random,
  struck: Struck,
): Promise<void> {
  const { work } = target;
  const undisturbed = `${work}-undisturbed`;
  await rm(undisturbed, { recursive: true, force: true });
  // The second try finds its tokens in the cache, as the struck ones do: its time is theirs.
  await must(target);
  await rm(work, { recursive: true });
  const began = performance.now();
  await must(target);
  const lasts = performance.now() - began;
  await rename(work, undisturbed);
  for (let i = 0; i < strikes; i++) {
    await strikeAt(target, [randomStrike(random, lasts)], struck);
    await judge(target, undisturbed, struck);
  }
}

async function must(target: Parameters<typeof attempt>[0]): Promise<void> {
  const end = await attempt(target);
  if (end !== 'ended well') throw new Error(`${target.args.join(' ')}: ${end}`);
}
