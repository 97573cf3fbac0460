/**
 * @file What the system lets this process have: open files and address space. Below a certain measure nothing works, and it
 * would show as a stack trace in the middle of loading, or as an abort; so it is looked at first (bin/unfold.js), before
 * much is loaded.
 */
import { readFileSync } from 'node:fs';
import { UnfoldError } from './errors.ts';

const GIB = 2 ** 30;

/** Modules are loaded many at a time: 128 were just enough. */
const LEAST_FILES = 256;

/** Every WebAssembly memory reserves 8 GiB of addresses and more, unless Node is told not to: Node itself has such memories. */
const LEAST_SPACE = 12 * GIB;
const NO_RESERVATION = '--disable-wasm-trap-handler';

/** Without that: Node, the kernels, a small model and a small coder. */
const LEAST_SPACE_WITHOUT = 2 * GIB;

/** Soft limits of this process; infinite where there is none, or where the system does not say. */
export interface Limits {
  /** Files open at a time (`ulimit -n`). */
  files: number;
  /** Bytes of address space (`ulimit -v`). */
  space: number;
}

/** As /proc has them (Linux). */
export function limitsOfProcess(read = () => readFileSync('/proc/self/limits', 'latin1')): Limits {
  let text = '';
  try {
    text = read();
  } catch {
    // Other systems: the limit is met where it is met.
  }
  const soft = (name: string) => Number(new RegExp(`^${name} +(\\d+) `, 'm').exec(text)?.[1] ?? Infinity);
  return { files: soft('Max open files'), space: soft('Max address space') };
}

/** What is too little to begin with, as a lesson. `options`: those that Node was started with. */
export function shortOfLimits(
  { files, space }: Limits = limitsOfProcess(),
  options = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].join(' '),
): UnfoldError | undefined {
  if (files < LEAST_FILES)
    return new UnfoldError('limit', {
      where: 'files that this process may have open (ulimit -n)',
      expected: `${LEAST_FILES} or more`,
      found: String(files),
      todo: 'ulimit -n 1024, then the same command again; where that is refused, raise the limit of the user, service or container',
    });
  const least = options.includes(NO_RESERVATION) ? LEAST_SPACE_WITHOUT : LEAST_SPACE;
  if (space >= least) return undefined;
  const without = least === LEAST_SPACE && space >= LEAST_SPACE_WITHOUT;
  return new UnfoldError('limit', {
    where: 'the address space of this process (ulimit -v)',
    expected: `${least / GIB} GiB or more${without ? `, or ${LEAST_SPACE_WITHOUT / GIB} with ${NO_RESERVATION}` : ''}`,
    found: `${(space / GIB).toFixed(2)} GiB`,
    todo: without
      ? `NODE_OPTIONS=${NO_RESERVATION} before the same command (WebAssembly reserves no addresses then), or ulimit -v unlimited`
      : 'ulimit -v unlimited, then the same command again; where that is refused, raise the limit of the user, service or container',
  });
}

/** The limits that may be the reason why memory or files ran out, in words. */
export function limitsInWords({ files, space }: Limits = limitsOfProcess()): {
  files: string;
  memory: string;
} {
  const most = process.constrainedMemory?.() || Number.POSITIVE_INFINITY;
  const holds = `this process holds ${gib(process.memoryUsage.rss())}`;
  const may = [
    Number.isFinite(space) && `may have ${gib(space)} of addresses (ulimit -v)`,
    most < 2 ** 50 && `its machine or container gives ${gib(most)}`,
  ].filter(Boolean);
  return {
    files: Number.isFinite(files) ? `this process may have ${files} open (ulimit -n)` : 'no more may be open',
    memory: [holds, ...may].join(', '),
  };
}

const gib = (bytes: number) => `${(bytes / GIB).toFixed(1)} GiB`;
