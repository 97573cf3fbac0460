/** @file Small inputs of every kind of direct job, and a command line that ends in a request or in the command's own run. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import type { CommandIO, CommandSpec } from '../../../src/cli/command.ts';
import { type StageContext, silent } from '../../../src/context.ts';
import { harvest } from '../../../src/harvest/harvest.ts';
import { enqueueCommands } from '../../../src/jobs/kinds/from-command.ts';
import type { JobRequest } from '../../../src/jobs/kinds/kind.ts';
import { writeSafetensors } from '../../../src/model/safetensors-write.ts';
import { Random } from '../../../src/random.ts';
import { train } from '../../../src/train/train.ts';

export const MODEL = new URL('../../../checkpoints/novels-4l', import.meta.url).pathname;
export const TEXT = new URL('../../../datasets/novels-heldout', import.meta.url).pathname;
export const HOOK = 'blocks.1.hook_resid_pre';

/** Paths of what the jobs of the tests read. */
export interface World {
  dir: string;
  shards: string;
  coder: string;
  rows: string;
  harvest: string;
  sweep: string;
  benchmark: string;
}

/** Shards, a coder, rows and settings files, all tiny. */
export async function makeWorld(dir: string): Promise<World> {
  const at = (name: string) => join(dir, name);
  await mkdir(dir, { recursive: true });
  const world = {
    dir,
    shards: at('shards'),
    coder: at('run/final'),
    rows: at('rows.safetensors'),
    harvest: at('harvest.yaml'),
    sweep: at('sweep.yaml'),
    benchmark: at('benchmark.yaml'),
  };
  const text = { dataset: TEXT, pool_tokens: 8000, max_tokens: 2048, context_size: 64 };
  const shards = { model: MODEL, text, hook_names: [HOOK], shard_rows: 512, batch_contexts: 8 };
  await harvest({ ...shards, out: world.shards }, silent());
  const settings = { d_sae: 64, k: 4, training_tokens: 1024, train_batch_size_tokens: 128 };
  await train({ out: at('run'), rows: world.shards, settings }, silent());
  const random = Random.of(1, 'rows');
  const data = Float32Array.from({ length: 32 * 128 }, () => random.normal());
  await writeSafetensors(world.rows, { input: { shape: [32, 128], data } });
  await writeFile(world.harvest, JSON.stringify({ ...shards, model: undefined }));
  const coders = { small: { k: 4 }, relu: { architecture: 'standard', l1_coefficient: 2 } };
  await writeFile(
    world.sweep,
    JSON.stringify({ ...settings, k: undefined, checkpoint_every_steps: 2, coders }),
  );
  const model = { preset: 'smoke', seed: 3 };
  const sweep = {
    d_sae: 16,
    training_tokens: 2048,
    train_batch_size_tokens: 256,
    coders: { topk: { k: 2 } },
  };
  await writeFile(world.benchmark, JSON.stringify({ model, evaluation_samples: 500, train: sweep }));
  return world;
}

const commands = enqueueCommands({ configure() {}, async act() {} });

/** The command of this name, as it stands below `unfold enqueue`, with what it makes of its flags. */
export async function requestFor(argv: readonly string[]): Promise<JobRequest> {
  const [name, ...flags] = argv;
  let request: JobRequest | undefined;
  const found = enqueueCommands({
    configure() {},
    act: async (made) => {
      request = made;
    },
  }).find((spec) => spec.name === name)!;
  await runSpec(found, flags);
  return request!;
}

/** Names of the commands that can be jobs. */
export const names = commands.map(({ name }) => name);

/** Runs a command as the command line would. */
export async function runSpec(
  spec: CommandSpec,
  flags: readonly string[],
  context: StageContext = silent(),
): Promise<void> {
  const command = new Command(spec.name).exitOverride();
  spec.configure(command);
  command.parse([...flags], { from: 'user' });
  const io: CommandIO = { context, json: true, leaveQuietly: () => context.signal, print() {}, emit() {} };
  await spec.run(command.args, command.opts(), io);
}
