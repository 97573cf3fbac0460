/** @file `unfold backend`: installs the backends that npm does not bring. */
import { type Command, Option } from 'commander';
import { UnfoldError } from '../../errors.ts';
import type { CommandSpec } from '../command.ts';

const INSTALLABLE = ['tensorflow', 'webgpu'];

const command: CommandSpec = {
  name: 'backend',
  summary: 'install an optional backend: tensorflow (CUDA, or CPU) or webgpu',
  description: [
    "Installs a backend into Unfold's cache, beside and not inside any project, and tries it.",
    '',
    'tensorflow is @tensorflow/tfjs-node-gpu (or tfjs-node with --cpu). Its own installer is tried first; where that',
    "cannot download, the library is taken from TensorFlow's wheel, checked against its known SHA-256, and the addon is",
    'compiled (g++). webgpu is Dawn with the WebGPU backend of tfjs, for GPUs without CUDA. On a CPU, the backend native,',
    'which npm ci builds, needs none of this. "unfold doctor" shows what is installed.',
  ]
    .join(' ')
    .replace('  ', '\n\n'),
  examples: [
    ['unfold backend install tensorflow', 'with CUDA 12: 475 MB from the wheel'],
    ['unfold backend install tensorflow --cpu', 'without CUDA: 220 MB'],
    [
      'unfold backend install tensorflow --wheel ~/Downloads/tensorflow-2.15.1-….whl',
      'from a file, without a network',
    ],
    ['unfold backend install webgpu', 'any modern GPU: 90 MB'],
  ],
  modes: {
    of: (_options, [, backend]) => (backend === 'webgpu' || backend === 'tensorflow' ? backend : undefined),
    always: ['--dir', '--force'],
    takes: { tensorflow: ['--cpu', '--wheel', '--index', '--from'], webgpu: [] },
  },
  afterStop: 'what was installed before is as it was; run the same command again',
  configure(command: Command) {
    command
      .argument('<action>', 'install')
      .argument('<backend>', INSTALLABLE.join(' or '))
      .option('--cpu', 'tensorflow without CUDA')
      .option('--wheel <file>', "TensorFlow's wheel, already downloaded")
      .option(
        '--index <url>',
        'Python package index ("simple" address) for the wheel; default PIP_INDEX_URL, else pip',
      )
      .addOption(
        new Option('--from <source>', 'where the library comes from').choices(['auto', 'installer', 'wheel']),
      )
      .option('--dir <folder>', 'install here; set UNFOLD_TENSORFLOW to it afterwards')
      .option('--force', 'install again');
  },
  async run([action, backend], options, io) {
    if (action !== 'install' || !INSTALLABLE.includes(backend ?? '')) {
      throw new UnfoldError('bad-setting', {
        where: 'unfold backend',
        expected: `install ${INSTALLABLE.join(' or install ')}`,
        found: `${action} ${backend}`,
        todo: 'unfold backend install tensorflow; native comes with npm ci, wasm and cpu are always there',
      });
    }
    if (backend === 'webgpu') {
      const { installWebGpu } = await import('../../tensor/install/webgpu.ts');
      const installed = await installWebGpu(options, io.context);
      io.print(
        `${installed.present ? 'already there' : 'installed'}: ${installed.packages.join(', ')} in ${installed.folder}`,
      );
      io.print('whether a GPU answers: unfold doctor');
      io.emit(installed);
      return;
    }
    const { installTensorFlow } = await import('../../tensor/install/tensorflow.ts');
    const installed = await installTensorFlow(options, io.context);
    const { version, gpu, gflops, folder } = installed;
    io.print(`${installed.present ? 'already there' : 'installed'}: ${installed.package} in ${folder}`);
    io.print(
      `TensorFlow ${version} on the ${gpu ? 'GPU' : 'CPU'}, 1024 x 1024 product right, ${gflops} GFLOP/s`,
    );
    io.print(
      options.dir
        ? `use it with: UNFOLD_TENSORFLOW=${folder} unfold … --backend tensorflow`
        : 'use it with: --backend tensorflow',
    );
    io.emit(installed);
  },
};

export default command;
