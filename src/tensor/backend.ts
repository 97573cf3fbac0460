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

/** The order of the automatic choice on a machine without a CUDA GPU; with one, `tensorflow` moves to the front. */
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
 * @throws UnfoldError `bad-setting` for an unknown name, `no-backend` when the named one cannot run, with the remedy
 */
export async function useBackend(
  name: BackendName | 'auto' = 'auto',
  context?: StageContext,
): Promise<BackendChoice> {
  const wanted = name === 'auto' ? (process.env.UNFOLD_BACKEND ?? 'auto') : name;
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

/** Tries the backends in order; what was passed over on the way becomes a warning with its remedy. */
async function automatic(): Promise<BackendChoice> {
  const order = await automaticOrder();
  const passed: { name: BackendName; found: Availability }[] = [];
  for (const name of order) {
    const found = await backends[name].availability();
    if (!found.usable) {
      passed.push({ name, found });
      continue;
    }
    try {
      const loaded = await backends[name].register();
      return { name, why: `the fastest that runs here; ${loaded}`, ...explain(name, passed) };
    } catch (error) {
      if (!(error instanceof UnfoldError)) throw error;
      passed.push({ name, found: { usable: false, detail: error.lesson.found, remedy: error.lesson.todo } });
    }
  }
  throw new UnfoldError('no-backend', {
    where: 'choosing a backend',
    expected: 'one of them to run',
    found: passed.map(({ name, found }) => `${name}: ${found.detail}`).join('; '),
    todo: 'reinstall with: npm ci',
  });
}

/** A missing `tensorflow` slows nothing on a machine without a GPU when `native` runs, so only slow choices warn. */
function explain(name: BackendName, passed: { name: BackendName; found: Availability }[]) {
  const native = passed.find((entry) => entry.name === 'native');
  const warnings: string[] = [];
  const remedies: string[] = [];
  if (native) {
    warnings.push(`backend native cannot run (${native.found.detail}), so ${name} computes, which is slower`);
    remedies.push(native.found.remedy ?? 'unfold doctor');
  }
  return { warnings, remedies };
}

async function automaticOrder(): Promise<readonly BackendName[]> {
  return AUTO_ORDER;
}

async function activate(backend: BackendModule): Promise<void> {
  if (!(await tf.setBackend(backend.tfjsName))) {
    throw new UnfoldError('no-backend', {
      where: `backend ${backend.name}`,
      expected: 'tfjs to start it',
      found: 'tfjs refused (its own message is above)',
      todo: 'choose another with --backend, or see what is wrong: unfold doctor',
    });
  }
  await tf.ready();
}
