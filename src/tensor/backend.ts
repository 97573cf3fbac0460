/**
 * @file Which backend computes. All numerics are tfjs ops, so the choice changes speed and nothing else; it is made once
 * per process, said aloud, and comes with the command that would make it faster.
 */
import type { StageContext } from '../context.ts';
import { nearest, UnfoldError } from '../errors.ts';
import {
  type Availability,
  BACKEND_NAMES,
  type BackendModule,
  type BackendName,
} from './backends/contract.ts';
import { backends } from './backends/table.ts';
import { CUDA_REMEDY, hasNvidiaDevice, tensorflowUsesGpu } from './backends/tensorflow.ts';
import { checkEnvironment } from './environment.ts';
import * as tf from './tf.ts';

export type { Availability, BackendModule, BackendName } from './backends/contract.ts';
export { BACKEND_NAMES } from './backends/contract.ts';

/** What was chosen. */
export interface BackendChoice {
  name: BackendName;
  /** Why this one, and what it found while loading: one line. */
  why: string;
  /** What is slower than it need be: one line each. */
  warnings: string[];
  /** What to do about the warnings, in the same order. */
  remedies: string[];
}

/** The order of the automatic choice; a TensorFlow that uses a CUDA GPU goes before all of them. */
const AUTO_ORDER: readonly BackendName[] = ['native', 'tensorflow', 'wasm', 'cpu'];

let current: BackendChoice | undefined;

/** The backend in use, if {@link useBackend} was called. */
export function currentBackend(): BackendChoice | undefined {
  return current;
}

/**
 * Registers a backend and makes it tfjs's current one.
 * @param name `auto` takes `UNFOLD_BACKEND` if set, else the fastest one that runs here
 * @param context is told what was chosen and why, once per process and backend
 * @throws UnfoldError `bad-setting` for an unknown name or environment variable, `no-backend` when the named one cannot run, with the remedy
 */
export async function useBackend(
  name: BackendName | 'auto' = 'auto',
  context?: StageContext,
): Promise<BackendChoice> {
  checkEnvironment();
  const wanted = name === 'auto' ? process.env.UNFOLD_BACKEND || 'auto' : name;
  const choice = wanted === 'auto' ? await automatic() : await named(checkedName(wanted));
  await activate(backends[choice.name]);
  if (current?.name !== choice.name) announce(choice, context);
  current = choice;
  return choice;
}

function announce({ name, why, warnings, remedies }: BackendChoice, context?: StageContext): void {
  context?.note(`backend ${name}: ${why}`);
  warnings.forEach((warning, i) => {
    context?.warn(remedies[i] ? `${warning}; to mend: ${remedies[i]}` : warning);
  });
}

function checkedName(name: string): BackendName {
  if ((BACKEND_NAMES as readonly string[]).includes(name)) return name as BackendName;
  throw new UnfoldError('bad-setting', {
    where: process.env.UNFOLD_BACKEND === name ? 'UNFOLD_BACKEND' : '--backend',
    expected: `auto, ${BACKEND_NAMES.join(', ')}`,
    found: JSON.stringify(name),
    todo: `choose one of them; the nearest is ${nearest(name, BACKEND_NAMES, 1)[0]}`,
  });
}

async function named(name: BackendName): Promise<BackendChoice> {
  const found = await backends[name].register();
  return { name, why: `asked for; ${found}`, warnings: [], remedies: [] };
}

/** What was passed over on the way to a choice. */
interface Passed {
  name: BackendName;
  found: Availability;
}

/** Tries the backends in order; what was passed over on the way becomes a warning with its remedy. */
async function automatic(): Promise<BackendChoice> {
  const advice = await tryGpu();
  if ('name' in advice) return advice;
  const passed: Passed[] = [];
  for (const name of AUTO_ORDER) {
    const loaded = await attempt(name);
    if (typeof loaded !== 'string') {
      passed.push({ name, found: loaded });
      continue;
    }
    const slower = explain(name, passed);
    return {
      name,
      why: `the fastest that runs here; ${loaded}`,
      warnings: [...advice.warnings, ...slower.warnings],
      remedies: [...advice.remedies, ...slower.remedies],
    };
  }
  throw new UnfoldError('no-backend', {
    where: 'choosing a backend',
    expected: 'one of them to run',
    found: passed.map(({ name, found }) => `${name}: ${found.detail}`).join('; '),
    todo: 'reinstall with: npm ci',
  });
}

/** Registers a backend; what it found, or why it cannot run. */
async function attempt(name: BackendName): Promise<string | Availability> {
  const found = await backends[name].availability();
  if (!found.usable) return found;
  try {
    return await backends[name].register();
  } catch (error) {
    if (!(error instanceof UnfoldError)) throw error;
    return { usable: false, detail: error.lesson.found, remedy: error.lesson.todo };
  }
}

/** TensorFlow on an NVIDIA GPU if one answers; else what keeps it from that, where there is a GPU at all. */
async function tryGpu(): Promise<BackendChoice | { warnings: string[]; remedies: string[] }> {
  if (!hasNvidiaDevice()) return { warnings: [], remedies: [] };
  const loaded = await attempt('tensorflow');
  if (typeof loaded !== 'string') {
    const warnings = [`there is an NVIDIA GPU, but backend tensorflow cannot run (${loaded.detail})`];
    return { warnings, remedies: [loaded.remedy ?? 'unfold doctor'] };
  }
  if (tensorflowUsesGpu()) {
    return { name: 'tensorflow', why: `a CUDA GPU answers; ${loaded}`, warnings: [], remedies: [] };
  }
  return {
    warnings: [
      'there is an NVIDIA GPU, but TensorFlow finds no CUDA 12 and cuDNN 8 libraries, so the CPU computes',
    ],
    remedies: [CUDA_REMEDY],
  };
}

/** On a machine without a GPU only a missing `native` makes anything slower. */
function explain(name: BackendName, passed: readonly Passed[]): { warnings: string[]; remedies: string[] } {
  const native = passed.find((entry) => entry.name === 'native');
  if (!native) return { warnings: [], remedies: [] };
  const slower =
    name === 'tensorflow' ? 'several times' : name === 'wasm' ? 'ten times or more' : 'hundreds of times';
  return {
    warnings: [`backend native cannot run (${native.found.detail}), so ${name} computes, ${slower} slower`],
    remedies: [native.found.remedy ?? 'unfold doctor'],
  };
}

/** Lets go of a device that would keep the process alive (WebGPU's); the end of a program that computes. */
export async function closeBackend(): Promise<void> {
  if (current) await backends[current.name].close?.();
  current = undefined;
}

async function activate(backend: BackendModule): Promise<void> {
  if (await tf.setBackend(backend.tfjsName)) return;
  throw new UnfoldError('no-backend', {
    where: `backend ${backend.name}`,
    expected: 'tfjs to start it',
    found: 'tfjs refused (its own message is above)',
    todo: 'choose another with --backend, or see what is wrong: unfold doctor',
  });
}
