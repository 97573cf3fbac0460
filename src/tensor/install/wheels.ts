/**
 * @file TensorFlow's wheels, whose libraries tfjs-node's addon can be linked with, and the ways to one: a file at hand,
 * an index asked directly (resumable, no Python), or pip. 2.15.1 is the newest release whose C headers this addon is
 * known to compile with, and the last that wants cuDNN 8. The checksums are pinned: a mirror cannot change the bytes.
 */
import { join } from 'node:path';
import type { StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { exists, sha256File } from '../../files.ts';
import { shownUrl } from '../../shown-url.ts';
import { download } from './download.ts';
import { cacheFolder } from './paths.ts';
import { runProgram } from './process.ts';
import { findWheel } from './wheel-index.ts';

/** A wheel by its exact file. */
export interface Wheel {
  project: string;
  version: string;
  file: string;
  /** Hex. */
  sha256: string;
}

/** Linux x86-64; the CUDA one was built with CUDA 12.2 and cuDNN 8.9 and runs on the CPU where there is no GPU. */
export const WHEELS: Readonly<Record<'gpu' | 'cpu', Wheel>> = {
  gpu: {
    project: 'tensorflow',
    version: '2.15.1',
    file: 'tensorflow-2.15.1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl',
    sha256: 'bb0edd69103c154245c5f209f0507355cc68ba7e4de350084bc31edc562478e4',
  },
  cpu: {
    project: 'tensorflow-cpu',
    version: '2.15.1',
    file: 'tensorflow_cpu-2.15.1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl',
    sha256: '54660c074d7241a503e81edfd9f5ef5af88f64051b72e2945f26318c790f2d26',
  },
};

/** Where a wheel may come from. */
export interface WheelSource {
  /** A wheel at hand. */
  file?: string;
  /** A simple index to ask directly; default `PIP_INDEX_URL`, and without that, pip. */
  index?: string;
}

/**
 * Gets the wheel and checks its SHA-256.
 * @returns its path
 * @throws UnfoldError `missing-file`, `bad-checksum`, `no-network`, `no-wheel`
 */
export async function obtainWheel(wheel: Wheel, source: WheelSource, context: StageContext): Promise<string> {
  if (source.file) return checkedFile(wheel, source.file);
  const path = join(cacheFolder(), 'downloads', wheel.file);
  const index = source.index ?? process.env.PIP_INDEX_URL;
  if (index) await fromIndex(wheel, index, path, context);
  else if (!(await exists(path))) await fromPip(wheel, join(cacheFolder(), 'downloads'), context);
  return checkedFile(wheel, path);
}

async function checkedFile(wheel: Wheel, path: string): Promise<string> {
  const where = path;
  const expected = `${wheel.file}, SHA-256 ${wheel.sha256}`;
  if (!(await exists(path))) {
    const todo = `get it where there is a network: ${pipCommand(wheel, '.').join(' ')}`;
    throw new UnfoldError('missing-file', { where, expected, found: 'no such file', todo });
  }
  const found = await sha256File(path);
  if (found === wheel.sha256) return path;
  throw new UnfoldError('bad-checksum', {
    where,
    expected,
    found: `SHA-256 ${found}`,
    todo: `delete it and get it again: ${pipCommand(wheel, '.').join(' ')}`,
  });
}

async function fromIndex(wheel: Wheel, index: string, path: string, context: StageContext): Promise<void> {
  const { url, sha256 } = await findWheel(index, wheel.project, wheel.file, context.signal);
  if (sha256 && sha256 !== wheel.sha256) {
    throw new UnfoldError('bad-checksum', {
      where: shownUrl(index),
      expected: `${wheel.file} with SHA-256 ${wheel.sha256}`,
      found: `the index offers SHA-256 ${sha256}`,
      todo: 'choose another --index: this one holds another file under that name',
    });
  }
  await download({ url, path, sha256: wheel.sha256, label: wheel.project }, context);
}

/** pip brings its own configuration: index, proxy, certificates, credentials. */
async function fromPip(wheel: Wheel, folder: string, context: StageContext): Promise<void> {
  context.note(`pip downloads ${wheel.project} ${wheel.version}`);
  let tail = '';
  for (const python of ['python3', 'python']) {
    const [, ...args] = pipCommand(wheel, folder);
    const ended = await runProgram(python, args, {
      signal: context.signal,
      onLine: (line) => context.note(line),
    });
    if (ended.code === 0) return;
    context.signal.throwIfAborted();
    tail ||= ended.tail;
  }
  throw new UnfoldError('no-wheel', {
    where: `${wheel.project} ${wheel.version}`,
    expected: 'pip to download it',
    found: tail.split('\n').slice(-3).join(' | ') || 'python3 -m pip does not run',
    todo: 'give the address of a Python package index with --index URL (needs no Python), or a downloaded file with --wheel FILE',
  });
}

/** The command line by which pip gets exactly this file, whatever Python runs it. */
export function pipCommand(wheel: Wheel, folder: string): string[] {
  const only = ['--no-deps', '--only-binary=:all:', '--python-version', '3.11', '--implementation', 'cp'];
  const platform = ['--platform', 'manylinux2014_x86_64'];
  return [
    'python3',
    '-m',
    'pip',
    'download',
    ...only,
    ...platform,
    '-d',
    folder,
    `${wheel.project}==${wheel.version}`,
  ];
}
