/**
 * @file Installs the `tensorflow` backend: `@tensorflow/tfjs-node-gpu` (or `-node`) and the TensorFlow library that it
 * calls. The package's own install script downloads libtensorflow 2.9.1 (CUDA 11.2) and a finished addon; where that
 * cannot be had, the library comes from TensorFlow's wheel (2.15.1, CUDA 12.2) and the addon is compiled here.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { exists } from '../../files.ts';
import { buildAddon, unpackWheel } from './addon.ts';
import { fillFolder, npm, npmInstall } from './own-folder.ts';
import { backendFolder, cacheFolder } from './paths.ts';
import { type Verified, verifyTensorFlow } from './verify.ts';
import { obtainWheel, WHEELS, type WheelSource } from './wheels.ts';

/** The version that Unfold's own tfjs-core is pinned to: both must be the same. */
export const TFJS_VERSION = '4.22.0';

/** How long the package's own installer may take, in milliseconds: it has no progress and no time limit itself. */
const INSTALLER_LIMIT = 900_000;

/** How to install. */
export interface InstallTensorFlowOptions {
  /** Without CUDA: a smaller download (220 MB instead of 475 MB). */
  cpu?: boolean;
  /** A TensorFlow wheel at hand: nothing is downloaded but npm packages. */
  wheel?: string;
  /** A Python package index (its "simple" address) to download the wheel from; default `PIP_INDEX_URL`, else pip. */
  index?: string;
  /** Where to install; default a folder in Unfold's cache. Set UNFOLD_TENSORFLOW to it afterwards. */
  dir?: string;
  /** `installer`: only the package's own; `wheel`: only TensorFlow's; `auto` (default): one after the other. */
  from?: 'auto' | 'installer' | 'wheel';
  /** Installs again although it is there. */
  force?: boolean;
}

/** What was installed, as kept in the folder. */
export interface InstalledTensorFlow extends Verified {
  package: string;
  packageVersion: string;
  /** `installer`, or the wheel's file name. */
  source: string;
  folder: string;
  /** True if nothing had to be done. */
  present?: boolean;
}

/**
 * Installs and tries the backend.
 * @throws UnfoldError `no-network`, `no-wheel`, `bad-checksum`, `bad-wheel`, `build-failed`, `npm-failed`, `disk-full`,
 * `no-backend` (installed but does not compute)
 */
export async function installTensorFlow(
  options: InstallTensorFlowOptions,
  context: StageContext,
): Promise<InstalledTensorFlow> {
  const name = options.cpu ? '@tensorflow/tfjs-node' : '@tensorflow/tfjs-node-gpu';
  const folder = options.dir ?? backendFolder(options.cpu ? 'tensorflow-cpu' : 'tensorflow');
  const inside = join('node_modules', name);
  if (!options.force && (await exists(join(folder, inside, 'package.json')))) {
    const verified = await verifyTensorFlow(join(folder, inside), context.signal);
    return {
      package: name,
      packageVersion: TFJS_VERSION,
      source: 'present',
      folder,
      ...verified,
      present: true,
    };
  }
  return fillFolder(folder, async (part) => {
    await npmInstall(part, [`${name}@${TFJS_VERSION}`], context);
    const source = await addLibrary(part, name, options, context);
    const verified = await verifyTensorFlow(join(part, inside), context.signal);
    return { package: name, packageVersion: TFJS_VERSION, source, folder, ...verified };
  });
}

/** Brings TensorFlow's library and the addon into the package; returns where they came from. */
async function addLibrary(
  part: string,
  name: string,
  options: InstallTensorFlowOptions,
  context: StageContext,
): Promise<string> {
  const from = options.from ?? (options.wheel || options.index ? 'wheel' : 'auto');
  if (from !== 'wheel') {
    const failure = await tryInstaller(part, name, context);
    if (!failure) return 'installer';
    if (from === 'installer') throw failure;
    context.note(
      `the package's own installer failed (${failure.lesson.found.split('\n')[0]}), so a wheel is used`,
    );
  }
  return fromWheel(part, name, options, context);
}

async function tryInstaller(
  part: string,
  name: string,
  context: StageContext,
): Promise<UnfoldError | undefined> {
  context.note(`${name} runs its own installer`);
  try {
    await npm(part, ['rebuild', name, '--loglevel=error'], context.signal, INSTALLER_LIMIT);
    return undefined;
  } catch (error) {
    if (!(error instanceof UnfoldError)) throw error;
    for (const half of ['deps', 'lib']) {
      await rm(join(part, 'node_modules', name, half), { recursive: true, force: true });
    }
    return error;
  }
}

async function fromWheel(
  part: string,
  name: string,
  options: WheelSource & InstallTensorFlowOptions,
  context: StageContext,
) {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new UnfoldError('no-wheel', {
      where: `${process.platform} ${process.arch}`,
      expected: 'Linux on x86-64, for which the wheels are known',
      found: 'another platform',
      todo: 'use --from installer, or the backend native, which is as fast on a CPU',
    });
  }
  const wheel = options.cpu ? WHEELS.cpu : WHEELS.gpu;
  const path = await obtainWheel(wheel, { file: options.wheel, index: options.index }, context);
  const packageFolder = join(part, 'node_modules', name);
  await unpackWheel(path, packageFolder, context);
  context.note('compiling the addon');
  await buildAddon(packageFolder, context);
  if (path.startsWith(join(cacheFolder(), 'downloads'))) await rm(path, { force: true });
  return wheel.file;
}
