/**
 * @file A folder with its own `node_modules`, filled beside its place and renamed into it when everything in it is
 * known to work: an installation that was cut off never looks like one.
 */
import { open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { writeJson } from '../../files.ts';
import { makeFolder } from '../../folders.ts';
import { RECORD } from './paths.ts';
import { runProgram } from './process.ts';

/**
 * Fills `folder` with `fill`, which works in a temporary neighbour and returns the record of what it installed.
 * An existing installation is replaced at the end, and kept if `fill` throws.
 * @throws UnfoldError `busy` while another process installs there
 */
export async function fillFolder<T extends object>(
  folder: string,
  fill: (part: string) => Promise<T>,
): Promise<T> {
  const part = `${folder}.part`;
  const release = await lock(`${folder}.lock`);
  try {
    await rm(part, { recursive: true, force: true });
    await makeFolder(part);
    const record = await fill(part);
    await writeJson(join(part, RECORD), record);
    await rm(folder, { recursive: true, force: true });
    await rename(part, folder);
    return record;
  } finally {
    await rm(part, { recursive: true, force: true });
    await release();
  }
}

/** Installs packages from npm into `folder` without running their install scripts. */
export async function npmInstall(
  folder: string,
  packages: readonly string[],
  context: StageContext,
): Promise<void> {
  context.note(`npm installs ${packages.join(' and ')}`);
  await writeFile(join(folder, 'package.json'), '{ "private": true }\n');
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--save-exact', '--loglevel=error'];
  await npm(folder, ['install', ...quiet, ...packages], context.signal);
}

/** Runs npm in `folder`. @throws UnfoldError `npm-failed` with its last words */
export async function npm(
  folder: string,
  args: readonly string[],
  signal: AbortSignal,
  timeout?: number,
): Promise<void> {
  const { code, tail } = await runProgram('npm', args, { cwd: folder, signal, timeout });
  if (code === 0) return;
  signal.throwIfAborted();
  throw new UnfoldError('npm-failed', {
    where: `npm ${args.join(' ')}`,
    expected: 'npm to end well',
    found:
      /\b\w*Error: .*/.exec(tail)?.[0] ?? (tail.split('\n').slice(-3).join(' | ') || `exit code ${code}`),
    todo: 'check that npm is on the PATH and reaches its registry, then run the command again',
  });
}

/** A file with our process id; one left by a process that is gone is taken over. */
async function lock(path: string): Promise<() => Promise<void>> {
  await makeFolder(dirname(path));
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      const file = await open(path, 'wx');
      await file.writeFile(String(process.pid));
      await file.close();
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (isRunning(Number(await readFile(path, 'utf8').catch(() => '')))) break;
      await rm(path, { force: true });
    }
  }
  throw new UnfoldError('busy', {
    where: path,
    expected: 'no other installation at work',
    found: 'a running process that holds the lock',
    todo: 'wait for it, then run the command again',
  });
}

function isRunning(pid: number): boolean {
  if (!pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
