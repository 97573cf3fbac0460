/**
 * @file Builds tfjs-node's addon against the libraries of a TensorFlow wheel. The addon is two C++ files on Node-API, so
 * one call of the compiler with the headers of the npm package `node-api-headers` does it: node-gyp, Python and the
 * headers of this very Node (which node-gyp would download) are not needed.
 */
import { symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { makeFolder } from '../../folders.ts';
import { runProgram } from './process.ts';
import { unzip } from './unzip.ts';

/** Node-API version whose folder tfjs-node looks in on every Node that Unfold supports. */
const NAPI = 8;

const LIBRARIES = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];
const HEADERS = ['tensorflow/c/', 'tsl/', 'tensorflow/core/platform/'];

/** Path of the addon inside the package's folder. */
export const ADDON = join('lib', `napi-v${NAPI}`, 'tfjs_binding.node');

/**
 * Unpacks libraries and headers of the wheel into `deps/` of the npm package.
 * @throws UnfoldError `bad-wheel` when the wheel lacks one of them
 */
export async function unpackWheel(
  wheel: string,
  packageFolder: string,
  context: StageContext,
): Promise<void> {
  const deps = join(packageFolder, 'deps');
  const taken = await unzip(wheel, (member) => placeInDeps(member, deps), context);
  const missing = [
    ...LIBRARIES.map((name) => `tensorflow/${name}`),
    'tensorflow/include/tensorflow/c/c_api.h',
  ].filter((name) => !taken.includes(name));
  if (missing.length) {
    throw new UnfoldError('bad-wheel', {
      where: wheel,
      expected: `members ${missing.join(', ')}`,
      found: `${taken.length} other members that are needed`,
      todo: 'take the wheel of TensorFlow 2.15.1 for Linux x86-64',
    });
  }
  await symlink('libtensorflow_cc.so.2', join(deps, 'lib', 'libtensorflow.so'));
  await symlink('libtensorflow_framework.so.2', join(deps, 'lib', 'libtensorflow_framework.so'));
}

function placeInDeps(member: string, deps: string): string | undefined {
  const inside = member.replace(/^tensorflow\//, '');
  if (LIBRARIES.includes(inside)) return join(deps, 'lib', inside);
  const header = inside.replace(/^include\//, '');
  return inside !== header && HEADERS.some((folder) => header.startsWith(folder))
    ? join(deps, 'include', header)
    : undefined;
}

/**
 * Compiles and links the addon of the npm package in `packageFolder`; `CXX` names the compiler, default `g++`.
 * @throws UnfoldError `build-failed` with the compiler's last words
 */
export async function buildAddon(packageFolder: string, context: StageContext): Promise<void> {
  const { include_dir } = createRequire(import.meta.url)('node-api-headers') as { include_dir: string };
  const compiler = process.env.CXX || 'g++';
  await makeFolder(join(packageFolder, 'lib', `napi-v${NAPI}`));
  const args = [
    ...['-std=c++17', '-O2', '-fPIC', '-shared', '-w', `-DNAPI_VERSION=${NAPI}`, '-DBUILDING_NODE_EXTENSION'],
    ...[`-I${include_dir}`, '-Ideps/include', 'binding/tfjs_backend.cc', 'binding/tfjs_binding.cc'],
    ...['-Ldeps/lib', '-ltensorflow', '-ltensorflow_framework', '-Wl,-rpath,$ORIGIN/../../deps/lib'],
    ...['-o', ADDON],
  ];
  const { code, tail } = await runProgram(compiler, args, { cwd: packageFolder, signal: context.signal });
  if (code === 0) return;
  throw new UnfoldError('build-failed', {
    where: `${compiler} in ${packageFolder}`,
    expected: `the addon ${ADDON}`,
    found: tail.split('\n').slice(-6).join('\n            ') || `exit code ${code}`,
    todo: 'install a C++17 compiler (Debian: apt-get install g++), or name one in CXX, and run the command again',
  });
}
