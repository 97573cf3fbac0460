/**
 * @file TensorFlow through `@tensorflow/tfjs-node-gpu` (CUDA) or `@tensorflow/tfjs-node` (CPU): a dependency of the
 * user's project if there is one, else what `unfold backend install tensorflow` installed. Unfold's custom kernels run
 * on it as their composites of tfjs operations.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import util from 'node:util';
import { UnfoldError } from '../../errors.ts';
import { ADDON } from '../install/addon.ts';
import * as tf from '../tf.ts';
import type { Availability, BackendModule } from './contract.ts';
import { dependencyFolder, installedFolder, requireWithOurTfjs } from './packages.ts';

const GPU = '@tensorflow/tfjs-node-gpu';
const CPU = '@tensorflow/tfjs-node';
const INSTALL = 'unfold backend install tensorflow';

/** TensorFlow finds CUDA by the loader's path, which has to be set before the process starts. */
export const CUDA_REMEDY =
  'put the libraries of CUDA 12 and cuDNN 8 on LD_LIBRARY_PATH (pip brings them as nvidia-cudnn-cu12==8.9.*, nvidia-cublas-cu12, nvidia-cufft-cu12, nvidia-cusparse-cu12, nvidia-cusolver-cu12, nvidia-cuda-runtime-cu12)';

/** What tfjs-node's backend object tells about itself. */
interface NodeBackend {
  isUsingGpuDevice: boolean;
  binding: { TF_Version: string };
}

/** True where the NVIDIA driver shows a device: cheap, and a reason to prefer TensorFlow. */
export function hasNvidiaDevice(): boolean {
  return ['/proc/driver/nvidia/version', '/dev/nvidia0', '/dev/dxg'].some((path) => existsSync(path));
}

/** The folders of tfjs-node packages that can be loaded, the one to prefer first. */
export function tensorflowFolders(): string[] {
  const own = process.env.UNFOLD_TENSORFLOW;
  const find = (name: string, variant: string) => [
    own ? installedFolder(name, variant, own) : undefined,
    dependencyFolder(name),
    installedFolder(name, variant),
  ];
  const gpu = find(GPU, 'tensorflow');
  const cpu = find(CPU, 'tensorflow-cpu');
  const order = hasNvidiaDevice() ? [...gpu, ...cpu] : [...cpu, ...gpu];
  return order.filter((folder) => folder !== undefined && existsSync(join(folder, ADDON))) as string[];
}

let loaded: string | undefined;

export const tensorflow: BackendModule = {
  name: 'tensorflow',
  tfjsName: 'tensorflow',
  summary: 'TensorFlow (tfjs-node-gpu or tfjs-node): CUDA, or all cores of the CPU',

  async availability(): Promise<Availability> {
    const [folder] = tensorflowFolders();
    if (folder) return { usable: true, detail: folder };
    const remedy = hasNvidiaDevice() ? INSTALL : `${INSTALL} --cpu (or without --cpu for CUDA)`;
    return { usable: false, detail: 'not installed', remedy };
  },

  async register() {
    loaded ??= load();
    return loaded;
  },
};

/** True if the loaded TensorFlow computes on a GPU. */
export function tensorflowUsesGpu(): boolean {
  return Boolean((tf.findBackend('tensorflow') as Partial<NodeBackend> | null)?.isUsingGpuDevice);
}

function load(): string {
  const [folder] = tensorflowFolders();
  if (!folder) {
    throw new UnfoldError('no-backend', {
      where: 'backend tensorflow',
      expected: `${GPU} or ${CPU}, with its addon`,
      found: 'neither is installed',
      todo: `${INSTALL}, or with --cpu where there is no CUDA GPU`,
    });
  }
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'; // Else TensorFlow greets on stderr.
  mendUtil();
  const theirs = requireWithOurTfjs(folder);
  try {
    theirs(folder);
  } catch (cause) {
    throw new UnfoldError('no-backend', {
      where: folder,
      expected: 'TensorFlow to load',
      found: cause instanceof Error ? cause.message.split('\n')[0]! : String(cause),
      todo: `install it again: ${INSTALL}${folder.endsWith('-gpu') ? '' : ' --cpu'} --force`,
      cause,
    });
  }
  const { binding, isUsingGpuDevice } = tf.findBackend('tensorflow') as unknown as NodeBackend;
  return `TensorFlow ${binding.TF_Version} on ${isUsingGpuDevice ? 'the GPU' : 'the CPU'}`;
}

/** tfjs-node 4.22 calls a function that Node 23 removed. */
function mendUtil(): void {
  const target = util as { isNullOrUndefined?: (value: unknown) => boolean };
  target.isNullOrUndefined ??= (value) => value === null || value === undefined;
}
