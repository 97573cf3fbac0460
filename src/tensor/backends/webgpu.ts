/**
 * @file WebGPU: tfjs's backend on Dawn, the implementation inside Chrome, which the npm package `webgpu` brings to Node.
 * Any GPU with a Vulkan, Metal or Direct3D 12 driver. Unfold's custom kernels run on it as composites. tfjs cannot read
 * a WebGPU tensor synchronously outside browsers: `await tensor.data()` works, `dataSync()` throws.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { UnfoldError } from '../../errors.ts';
import { runProgram } from '../install/process.ts';
import * as tf from '../tf.ts';
import type { Availability, BackendModule } from './contract.ts';
import { dependencyFolder, installedFolder, requireWithOurTfjs } from './packages.ts';

const DAWN = 'webgpu';
const TFJS = '@tensorflow/tfjs-backend-webgpu';
const INSTALL = 'unfold backend install webgpu';

/** The parts of Dawn that are used here; the rest of WebGPU is tfjs's business. */
interface Gpu {
  requestAdapter(): Promise<{
    info?: { vendor?: string; architecture?: string; description?: string };
  } | null>;
}
interface Dawn {
  create(flags: string[]): Gpu;
  globals: Record<string, unknown>;
}
interface WebGpuBackend {
  device: { destroy(): void };
}

let loaded: Promise<string> | undefined;

export const webgpu: BackendModule = {
  name: 'webgpu',
  tfjsName: 'webgpu',
  summary: 'WebGPU (tfjs-backend-webgpu on Dawn): any modern GPU',

  async availability(): Promise<Availability> {
    if (!folders())
      return { usable: false, detail: 'not installed', remedy: `${INSTALL} (for a GPU without CUDA)` };
    const { adapter, found } = await probeApart();
    return adapter ? { usable: true, detail: adapter } : { usable: false, detail: found, remedy: NO_ADAPTER };
  },

  async register() {
    loaded ??= load();
    return loaded;
  },

  async close() {
    if (!loaded) return;
    await loaded.catch(() => undefined);
    (tf.findBackend('webgpu') as unknown as WebGpuBackend | null)?.device.destroy();
    const factory = tf.findBackendFactory('webgpu');
    tf.removeBackend('webgpu');
    if (factory) tf.registerBackend('webgpu', factory);
    loaded = undefined;
  },
};

/** Folders of both packages, which are found together or not at all. */
function folders(): { dawn: string; tfjs: string } | undefined {
  for (const find of [dependencyFolder, (name: string) => installedFolder(name, 'webgpu')]) {
    const dawn = find(DAWN);
    const tfjs = find(TFJS);
    if (dawn && tfjs) return { dawn, tfjs };
  }
  return undefined;
}

const NO_ADAPTER =
  'install the Vulkan driver of the GPU ("vulkaninfo --summary" lists what the system finds), or choose another backend';

const PROBE = `
import(process.argv[1]).then(async ({ create }) => {
  const adapter = await create([]).requestAdapter();
  console.log('ADAPTER' + JSON.stringify(adapter ? [adapter.info.description || adapter.info.vendor, adapter.info.architecture] : null));
  process.exit();
});
`;

/** Looks for an adapter in a process of its own: drivers talk on stderr, and some crash. */
async function probeApart(): Promise<{ adapter?: string; found: string }> {
  const entry = pathToFileURL(dawnEntry(folders()!.dawn)).href;
  const { stdout, tail, code } = await runProgram(process.execPath, ['-e', PROBE, entry], {
    timeout: 30_000,
  });
  const line = stdout.split('\n').find((text) => text.startsWith('ADAPTER'));
  const words = line && (JSON.parse(line.slice('ADAPTER'.length)) as string[] | null);
  if (words) return { adapter: words.filter(Boolean).join(', '), found: 'an adapter' };
  if (line) return { found: NONE };
  return {
    found: `Dawn does not run: ${tail.split('\n').find((text) => /Error/.test(text)) ?? `exit code ${code}`}`,
  };
}

const NONE = 'installed, but no GPU answers, or none with a driver that Dawn can use';

function dawnEntry(folder: string): string {
  const { main = 'index.js' } = createRequire(join(folder, 'package.json'))('./package.json') as {
    main?: string;
  };
  return join(folder, main);
}

let probed: Promise<{ gpu: Gpu; adapter: string }> | undefined;

function adapterFound(): Promise<{ gpu: Gpu; adapter: string }> {
  probed ??= probe();
  return probed;
}

/** Starts Dawn and asks for an adapter. */
async function probe(): Promise<{ gpu: Gpu; adapter: string }> {
  const found = folders();
  if (!found) {
    const expected = `the packages ${DAWN} and ${TFJS}`;
    throw unusable({ expected, found: 'they are not installed', todo: INSTALL });
  }
  const dawn = await startDawn(found.dawn);
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create([]);
  const adapter = await gpu.requestAdapter();
  if (!adapter) {
    throw unusable({ expected: 'a GPU adapter', found: NONE, todo: NO_ADAPTER });
  }
  const { vendor, architecture, description } = adapter.info ?? {};
  return { gpu, adapter: [description || vendor || 'unnamed GPU', architecture].filter(Boolean).join(', ') };
}

async function startDawn(folder: string): Promise<Dawn> {
  try {
    return (await import(pathToFileURL(dawnEntry(folder)).href)) as Dawn;
  } catch (cause) {
    throw unusable({
      expected: 'Dawn to load',
      found: cause instanceof Error ? cause.message.split('\n')[0]! : String(cause),
      todo: 'choose another backend: Dawn needs a recent C++ library and a supported platform',
      cause,
    });
  }
}

async function load(): Promise<string> {
  const { gpu, adapter } = await adapterFound();
  // Node has a navigator from version 21 on, without a GPU.
  const navigator = (globalThis as { navigator?: object }).navigator ?? {};
  Object.defineProperty(navigator, 'gpu', { value: gpu, configurable: true });
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true, writable: true });
  const { tfjs } = folders()!;
  if (tf.findBackendFactory('webgpu') === null) requireWithOurTfjs(tfjs)(tfjs);
  return `${adapter}; read tensors with await tensor.data()`;
}

function unusable(lesson: { expected: string; found: string; todo: string; cause?: unknown }): UnfoldError {
  return new UnfoldError('no-backend', { where: 'backend webgpu', ...lesson });
}
