/**
 * @file Runs of `unfold run` that are struck at random moments (kill -9, TERM, INT, STOP and CONT) and run again until they end:
 * their bytes are compared with those of a run that nobody disturbed, and what is left over is counted. Seeded: the same
 * strikes, as far as the machine takes the same time.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../../src/random.ts';
import { differences } from '../../test/support/same-bytes.ts';

const ROOT = join(import.meta.dirname, '../..');
const SIGNALS = ['SIGKILL', 'SIGKILL', 'SIGTERM', 'SIGINT', 'SIGSTOP'] as const;
type Strike = (typeof SIGNALS)[number];

const TEXT = 'dataset: datasets/novels-heldout, pool_tokens: 10000, context_size: 32';
const PIPELINE = `
name: struck
model: checkpoints/novels-4l
text: {${TEXT}, max_tokens: 2048}
harvest: {hook_names: [blocks.0.hook_resid_pre], shard_rows: 512, batch_contexts: 8}
train: {d_sae: 64, training_tokens: 2048, train_batch_size_tokens: 64, lr: 0.004, k: 4, checkpoint_every_steps: 4}
evaluate: {text: {${TEXT}, skip_contexts: 70, max_tokens: 512}}
summary: {text: {${TEXT}, skip_contexts: 70, max_tokens: 512}, features: 2, examples: 1}
`;

/** What came of it. */
export interface Struck {
  /** Runs brought to their end, and the strikes that hit a process on the way, by signal. */
  runs: number;
  strikes: Record<string, number>;
  /** "run 3: train/…: differs". */
  differing: string[];
  /** Unfinished files, locks and clocks in finished runs. */
  leftovers: string[];
  /** Ends of the last, undisturbed try with another exit code than 0. */
  failures: string[];
}

/** Strikes `strikes` times, up to three a run. */
export async function strikeRuns(strikes: number, seed: number): Promise<Struck> {
  const random = Random.of(seed, 'kills');
  const dir = await mkdtemp(join(tmpdir(), 'unfold-kills-'));
  const world = { dir, out: join(dir, 'run'), pipeline: join(dir, 'struck.yaml') };
  await writeFile(world.pipeline, PIPELINE);
  const struck: Struck = { runs: 0, strikes: {}, differing: [], leftovers: [], failures: [] };
  try {
    const began = performance.now();
    await attempt(world);
    const lasts = performance.now() - began;
    const undisturbed = join(dir, 'undisturbed');
    await rename(world.out, undisturbed);
    for (let left = strikes; left > 0; ) {
      const here = Math.min(left, 1 + random.below(3));
      for (let i = 0; i < here; i++) {
        const signal = SIGNALS[random.below(SIGNALS.length)]!;
        if (await attempt(world, { signal, after: random.float() * lasts })) count(struck.strikes, signal);
      }
      left -= here;
      await judge(world, undisturbed, struck);
    }
    return struck;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

interface World {
  dir: string;
  out: string;
  pipeline: string;
}

function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

/** Runs the struck one to its end and compares it. */
async function judge(world: World, undisturbed: string, struck: Struck): Promise<void> {
  struck.runs++;
  const name = `run ${struck.runs}`;
  const code = await attempt(world);
  if (code !== 'ended well') struck.failures.push(`${name}: ${String(code)}`);
  const ended = join(world.dir, 'ended');
  await rm(ended, { recursive: true, force: true });
  await rename(world.out, ended);
  struck.differing.push(...(await differences(ended, undisturbed)).map((words) => `${name}: ${words}`));
  const names = await readdir(ended, { recursive: true });
  const left = names.filter((file) => /(^|\/)\.(lock|seconds)|\.part(\/|$)/.test(file));
  struck.leftovers.push(...left.map((file) => `${name}: ${file}`));
}

/** One try; undefined if it ended before it was struck, else how it ended. */
async function attempt(
  { dir, out, pipeline }: World,
  strike?: { signal: Strike; after: number },
): Promise<string | undefined> {
  const args = [join(ROOT, 'bin/unfold.js'), 'run', pipeline, '--out', out, '--quiet'];
  const env = { ...process.env, UNFOLD_CACHE: join(dir, 'cache') };
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: 'ignore' });
  const ended = new Promise<string>((resolve) =>
    child.on('close', (code, signal) =>
      resolve(code === 0 ? 'ended well' : `${signal ?? `exit code ${code}`}`),
    ),
  );
  if (!strike) return ended;
  const first = await Promise.race([ended, sleep(strike.after, undefined, { ref: false })]);
  if (first !== undefined) return undefined;
  child.kill(strike.signal);
  if (strike.signal === 'SIGSTOP') {
    await sleep(300);
    child.kill('SIGCONT');
  }
  return ended;
}
