/**
 * @file Tries an installed tfjs-node in a process of its own, so that a library made for another processor or another
 * CUDA ends in a message and not in our own crash.
 */
import { UnfoldError } from '../../errors.ts';
import { runProgram } from './process.ts';

/** What the trial found. */
export interface Verified {
  /** TensorFlow's version. */
  version: string;
  /** True if it computes on a GPU. */
  gpu: boolean;
  /** Speed of a 1024³ float32 product, the best of five: GFLOP/s. */
  gflops: number;
}

/** Runs in the child: a product with a known answer, and a step that must leave the live tensors as they were. */
const TRIAL = `
const util = require('node:util');
util.isNullOrUndefined ??= (value) => value == null;
const tf = require(process.argv[1]);
const n = 1024;
const row = tf.range(0, n).reshape([n, 1]);
const a = row.tile([1, n]).div(n);
const b = tf.eye(n).mul(2);
const right = tf.tidy(() => a.matMul(b).sub(a.mul(2)).abs().max().dataSync()[0]) === 0;
const before = tf.memory();
let best = Infinity;
for (let i = 0; i < 5; i++) {
  const start = performance.now();
  tf.tidy(() => void a.matMul(b).dataSync()); // void: tidy walks through what it is given back
  best = Math.min(best, performance.now() - start);
}
const after = tf.memory();
const backend = tf.backend();
console.log('TRIAL' + JSON.stringify({
  right,
  leak: after.numTensors - before.numTensors,
  bytes: before.numBytes,
  version: backend.binding.TF_Version,
  gpu: Boolean(backend.isUsingGpuDevice),
  gflops: Math.round(2 * n ** 3 / best / 1e6),
}));
`;

/**
 * @param packageFolder folder of `@tensorflow/tfjs-node` or `-gpu`
 * @throws UnfoldError `no-backend` if it does not load, computes wrongly or leaks
 */
export async function verifyTensorFlow(packageFolder: string, signal?: AbortSignal): Promise<Verified> {
  const ended = await runProgram(process.execPath, ['-e', TRIAL, packageFolder], {
    signal,
    timeout: 180_000,
    environment: { TF_CPP_MIN_LOG_LEVEL: '2', NODE_OPTIONS: '' },
  });
  const line = ended.stdout.split('\n').find((text) => text.startsWith('TRIAL'));
  const trial =
    line && (JSON.parse(line.slice('TRIAL'.length)) as Verified & Record<'right' | 'leak' | 'bytes', number>);
  if (ended.code === 0 && trial && trial.right && trial.leak === 0 && trial.bytes > 2 * 4 * 1024 ** 2) {
    return { version: trial.version, gpu: trial.gpu, gflops: trial.gflops };
  }
  throw new UnfoldError('no-backend', {
    where: packageFolder,
    expected: 'a 1024 x 1024 product computed by TensorFlow, exact and without a leak',
    found: trial
      ? JSON.stringify(trial)
      : ended.tail.split('\n').slice(-4).join(' | ') || `exit code ${ended.code}`,
    todo: 'run the command again with --from wheel (TensorFlow 2.15.1), or with --cpu where CUDA is the trouble',
  });
}
