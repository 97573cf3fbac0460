/**
 * @file Claim: real pipelines through Redis and two workers, one of them killed with -9 in the middle of the training, leave
 * the bytes that `unfold run` leaves. Pipelines are named in UNFOLD_PIPELINES (default: quickstart; the closing notes of a
 * release also name architectures). The time beside it is that of `unfold run` on the same machine.
 */
import { join } from 'node:path';
import { silent } from '../src/context.ts';
import { enqueuePipeline } from '../src/jobs/enqueue.ts';
import { runPipeline } from '../src/pipeline/pipeline.ts';
import { useBackend } from '../src/tensor/backend.ts';
import { FaultWorld, has, until } from '../test/jobs/faults/world.ts';
import { differences } from '../test/support/same-bytes.ts';
import type { BenchLine } from './line.ts';

/** Seconds that a pipeline may take through the queue. */
const PATIENCE = 3600;

/** Checkpoints often enough that there is one to be killed after. */
const OFTEN = ['train.checkpoint_every_steps=100'];

const LOCK = { lockMilliseconds: 10_000, deadlineSeconds: 30 };

export async function run(): Promise<BenchLine[]> {
  await useBackend();
  const names = (process.env.UNFOLD_PIPELINES ?? 'quickstart').split(',');
  const lines: BenchLine[] = [];
  for (const name of names) lines.push(await one(name));
  return lines;
}

async function one(name: string): Promise<BenchLine> {
  const world = await FaultWorld.open();
  try {
    const alone = join(world.dir, 'alone');
    const { seconds: aloneSeconds } = await runPipeline(name, { out: alone, set: OFTEN });
    const queued = join(world.dir, 'queued');
    const { seconds, killed } = await throughQueue(world, name, queued);
    const different = await differences(alone, queued);
    return {
      name: `queue-pipelines ${name}`,
      value: different.length,
      bound: 0,
      passed: different.length === 0 && killed,
      unit: 'files',
      ratio_to:
        'files that differ from those of unfold run, times aside; two workers, one killed in the training',
      detail: {
        killed,
        different: different.slice(0, 20),
        seconds: rounded(seconds),
        unfold_run_seconds: rounded(aloneSeconds),
        ratio: rounded(seconds / aloneSeconds),
      },
    };
  } finally {
    await world.close();
  }
}

/** Two workers; the first that trains is killed once there is a checkpoint or a finished coder, and another one started. */
async function throughQueue(
  world: FaultWorld,
  name: string,
  out: string,
): Promise<{ seconds: number; killed: boolean }> {
  const workers = [await world.worker(LOCK).ready(), await world.worker(LOCK).ready()];
  const began = performance.now();
  const { root } = await enqueuePipeline(name, { out, set: OFTEN }, world.connection, silent());
  const over = () => has(out, /^train-\w+\/stage\.json$/);
  await until(() => has(out, /^train-\w+\/.*checkpoints\/step-\d+$/, 6) || over(), PATIENCE);
  const victim = workers.find(({ text }) => /\.train(\.\S+)?: begun/.test(text)) ?? workers[0]!;
  const killed = !over();
  await victim.kill();
  await world.worker(LOCK).ready();
  const state = await world.ended(root, PATIENCE);
  if (state !== 'completed') throw new Error(`${name} through the queue ended as ${state}`);
  return { seconds: (performance.now() - began) / 1000, killed };
}

const rounded = (value: number) => Number(value.toPrecision(4));
