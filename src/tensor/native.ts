/**
 * @file The native addon: C++ kernels behind Node-API, built by scripts/build-native.mjs into build/native. This file
 * finds the build that this processor can run, types what it exports, and says what was found. It computes nothing; the
 * tfjs backend `native` (backends/native.ts) is made of it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NativeAddon } from './native-types.ts';

export type { NativeAddon } from './native-types.ts';

/** A matrix-product library: oneDNN, OpenBLAS, Apple's Accelerate, or our own kernel. */
export type BlasName = 'dnnl' | 'openblas' | 'accelerate' | 'own';

/** What `unfold doctor` says about the addon. */
export interface NativeInfo {
  /** Whether the addon is loaded. */
  available: boolean;
  /** Why it is not, or how to mend it: the build's own words. */
  reason?: string;
  mend?: string;
  /** Instruction set of the loaded build: `avx512`, `avx2` or `baseline`. */
  variant?: string;
  /** Threads that kernels use (`UNFOLD_THREADS`, else physical cores), and from where. */
  threads?: number;
  threadRuntime?: string;
  /** The library that products run on, why it was chosen, and all that were found. */
  blas?: BlasName;
  blasWhy?: string;
  libraries?: { name: BlasName; version: string }[];
  /** The unit that bfloat16 products run on (`amx`, `avx512`; `off` where there is none), and why. */
  bf16?: string;
  bf16Why?: string;
  /** Whether encoders are screened in bfloat16: `auto`, `off` or `always` (screening.ts). */
  screening?: string;
}

interface Loaded {
  addon?: NativeAddon;
  variant?: string;
  reason?: string;
}

const require = createRequire(import.meta.url);
let loaded: Loaded | undefined;

/** The package's root: the nearest folder upwards that has package.json (this file runs from src and from dist). */
function packageRoot(): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(folder, 'package.json')) && path.dirname(folder) !== folder) {
    folder = path.dirname(folder);
  }
  return folder;
}

const buildFolder = () => path.join(packageRoot(), 'build', 'native');

/** The build's record, where there is one. */
function buildRecord(): { ok?: boolean; reason?: string; mend?: string } {
  try {
    return JSON.parse(readFileSync(path.join(buildFolder(), 'build.json'), 'utf8'));
  } catch {
    return {};
  }
}

/** Builds from the plainest to the fastest: a processor that can run one can run all before it. */
const VARIANTS = ['baseline', 'avx2', 'avx512'];

/** The fastest build that runs here, or a plainer one that UNFOLD_NATIVE_VARIANT names (to test it). */
function chosenVariant(fastest: string): string {
  const wish = VARIANTS.indexOf(process.env.UNFOLD_NATIVE_VARIANT || fastest);
  return VARIANTS[Math.min(wish < 0 ? VARIANTS.length : wish, VARIANTS.indexOf(fastest))]!;
}

/**
 * OpenMP's threads wait for work in a busy loop, by default for 20 ms: time that other processes, and Node's own
 * threads, want more. These cover the pause between one kernel and the next and no more. GCC's runtime, then LLVM's.
 */
const WAITING = { GOMP_SPINCOUNT: '10000', KMP_BLOCKTIME: '1' };

/** Runs `make` with environment variables that the user has not set: libraries read theirs while they are loaded. */
function withSettings<T>(settings: Record<string, string>, make: () => T): T {
  if ('OMP_WAIT_POLICY' in process.env) return make();
  const own = Object.entries(settings).filter(([name]) => !(name in process.env));
  for (const [name, value] of own) process.env[name] = value;
  try {
    return make();
  } finally {
    for (const [name] of own) delete process.env[name];
  }
}

function load(): Loaded {
  if (process.env.UNFOLD_NATIVE === '0') return { reason: 'UNFOLD_NATIVE=0' };
  const probe = path.join(buildFolder(), 'probe.node');
  if (!existsSync(probe)) return { reason: buildRecord().reason ?? 'the native kernels were not built' };
  try {
    const variant = chosenVariant((require(probe) as { variant: string }).variant);
    const file = path.join(buildFolder(), `unfold.${variant}.node`);
    return { addon: withSettings(WAITING, () => require(file)) as NativeAddon, variant };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}

/** The addon's functions, or undefined where it was not built or cannot be loaded ({@link nativeInfo} says why). */
export function nativeAddon(): NativeAddon | undefined {
  loaded ??= load();
  return loaded.addon;
}

/** What was built, what was loaded, with which library, on how many threads. */
export function nativeInfo(): NativeInfo {
  const addon = nativeAddon();
  if (!addon) {
    return {
      available: false,
      reason: loaded?.reason,
      mend: buildRecord().mend ?? 'npm run build:native',
    };
  }
  const [blas, blasWhy] = addon.blasChosen().split('\t') as [BlasName, string];
  const libraries = addon
    .blasLibraries()
    .trim()
    .split('\n')
    .map((line) => line.split('\t') as [BlasName, string])
    .map(([name, version]) => ({ name, version }));
  const [bf16, bf16Why] = addon.bf16Unit().split('\t') as [string, string];
  return {
    available: true,
    variant: loaded?.variant,
    threads: addon.threads(),
    threadRuntime: addon.threadRuntime(),
    blas,
    blasWhy,
    libraries,
    bf16,
    bf16Why,
    screening: addon.screening(),
  };
}
