/**
 * @file The machine as far as it decides what Unfold can do: Node, processor, memory, disk.
 */
import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import os from 'node:os';
import { makeFolder } from '../folders.ts';
import { cacheFolder } from '../tensor/install/paths.ts';
import type { Finding, State } from './contract.ts';

const GB = 1e9;
/** The quickstart's shards, checkpoints and dictionaries fit in this. */
const DISK_WANTED = 5 * GB;
/** GPT-2 small with a trainer of 24,576 latents beside it. */
const MEMORY_WANTED = 4 * GB;

/** Node, platform, processor, memory, free disk at the working directory and at the cache. */
export async function machineFindings(): Promise<Finding[]> {
  return [nodeFinding(), processorFinding(), memoryFinding(), ...(await diskFindings())];
}

function line(name: string, state: State, found: string, remedy?: string): Finding {
  return { area: 'machine', name, state, found, ...(remedy ? { remedy } : {}) };
}

function nodeFinding(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const recent = major > 20 || (major === 20 && minor >= 19);
  const found = `${process.version}, ${os.type()} ${os.release()} ${process.arch}`;
  return line('Node', recent ? 'ok' : 'problem', found, recent ? undefined : 'install Node 20.19 or newer');
}

function processorFinding(): Finding {
  const simd = simdLevel();
  const found = `${os.cpus()[0]?.model.trim() ?? 'unknown'}, ${os.availableParallelism()} cores${simd ? `, ${simd}` : ''}`;
  return line('processor', 'ok', found);
}

/** The vector instructions that matter to products of matrices, as Linux names them; empty elsewhere. */
export function simdLevel(flags: string = linuxFlags()): string {
  const has = (flag: string) => flags.includes(` ${flag} `);
  const levels = [
    has('avx512f') ? 'AVX-512' : has('avx2') ? 'AVX2' : '',
    has('amx_tile') ? 'AMX' : '',
    has('asimd') ? 'NEON' : '',
  ];
  return levels.filter(Boolean).join(' + ');
}

function linuxFlags(): string {
  try {
    const text = readFileSync('/proc/cpuinfo', 'utf8');
    return ` ${/^(?:flags|Features)\s*:\s*(.*)$/m.exec(text)?.[1] ?? ''} `;
  } catch {
    return process.arch === 'arm64' ? ' asimd ' : '';
  }
}

function memoryFinding(): Finding {
  const limit = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  const total = Math.min(os.totalmem(), limit);
  const found = `${gigabytes(total)} in all, ${gigabytes(os.freemem())} free${limit < os.totalmem() ? ' (limited by a container)' : ''}`;
  if (total >= MEMORY_WANTED) return line('memory', 'ok', found);
  return line('memory', 'warning', found, 'train smaller coders, or with a smaller --shuffle-buffer-rows');
}

async function diskFindings(): Promise<Finding[]> {
  const places = [
    ['disk here', process.cwd()],
    ['disk of the cache', cacheFolder()],
  ] as const;
  return Promise.all(places.map(([name, path]) => diskFinding(name, path)));
}

async function diskFinding(name: string, path: string): Promise<Finding> {
  try {
    await makeFolder(path);
    const { bavail, bsize } = await statfs(path);
    const free = bavail * bsize;
    const found = `${gigabytes(free)} free (${path})`;
    if (free >= DISK_WANTED) return line(name, 'ok', found);
    return line(
      name,
      'warning',
      found,
      name === 'disk here' ? 'free space, or use --out on another disk' : MOVE_CACHE,
    );
  } catch (error) {
    return line(name, 'problem', `${path}: ${(error as Error).message}`, MOVE_CACHE);
  }
}

const MOVE_CACHE = 'free space, or move the cache with UNFOLD_CACHE';

function gigabytes(bytes: number): string {
  return `${(bytes / GB).toFixed(1)} GB`;
}
