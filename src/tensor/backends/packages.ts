/**
 * @file Finds packages that Unfold does not bring (tfjs-node, Dawn): in the user's project, beside Unfold, or in
 * Unfold's cache where `unfold backend install` puts them; and makes them use this process's tfjs. A package that loads
 * its own copy of tfjs-core would register its backend where our operations never look.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { UnfoldError } from '../../errors.ts';
import { backendFolder, RECORD } from '../install/paths.ts';
import * as tf from '../tf.ts';

const ours = createRequire(import.meta.url);

/** The folder of package `name` if it is installed: as a dependency of the user's project or of Unfold, … */
export function dependencyFolder(name: string): string | undefined {
  const start = [join(process.cwd(), 'package.json'), import.meta.url];
  for (const from of start) {
    for (const folder of createRequire(from).resolve.paths(name) ?? []) {
      if (existsSync(join(folder, name, 'package.json'))) return join(folder, name);
    }
  }
  return undefined;
}

/** … or by `unfold backend install`, in `folder` (default: its place in the cache). */
export function installedFolder(
  name: string,
  variant: string,
  folder = backendFolder(variant),
): string | undefined {
  const path = join(folder, 'node_modules', name);
  return existsSync(join(folder, RECORD)) && existsSync(path) ? path : undefined;
}

/**
 * Makes every `require('@tensorflow/tfjs-core')` (and of the plain CPU backend, whose kernels would otherwise be
 * registered twice) from the package in `folder` and from the packages beside it give the module that we use.
 * @returns a `require` that resolves from that folder
 * @throws UnfoldError `no-backend` when its tfjs is of another version than ours
 */
export function requireWithOurTfjs(folder: string): NodeJS.Require {
  const theirs = createRequire(join(folder, 'package.json'));
  const neighbours = ['tfjs', 'tfjs-layers', 'tfjs-data', 'tfjs-converter', 'tfjs-backend-webgl'];
  const users = [theirs, ...neighbours.flatMap((name) => requireFrom(theirs, `@tensorflow/${name}`))];
  for (const shared of ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-cpu']) {
    for (const user of users) shareModule(user, shared, folder);
  }
  if (theirs('@tensorflow/tfjs-core').setBackend !== tf.setBackend) {
    throw new UnfoldError('no-backend', {
      where: folder,
      expected: 'the package to use the tfjs-core that Unfold uses',
      found: 'a second copy of tfjs-core in the same process',
      todo: 'do not load @tensorflow/tfjs-node yourself before Unfold; call useBackend first',
    });
  }
  return theirs;
}

function requireFrom(from: NodeJS.Require, name: string): NodeJS.Require[] {
  try {
    return [createRequire(join(dirname(from.resolve(`${name}/package.json`)), 'package.json'))];
  } catch {
    return [];
  }
}

/** Puts our instance into Node's cache of modules under the file name that `user` would load. */
function shareModule(user: NodeJS.Require, name: string, folder: string): void {
  let entry: string;
  try {
    entry = user.resolve(name);
  } catch {
    return; // This one does not use it.
  }
  const our = ours.resolve(name);
  if (entry === our) return;
  checkVersion(user, name, folder);
  ours(name);
  if (user.cache[entry] && user.cache[entry] !== ours.cache[our]) return; // Already loaded: the check above reports it.
  user.cache[entry] = ours.cache[our];
}

function checkVersion(user: NodeJS.Require, name: string, folder: string): void {
  const theirVersion = (user(`${name}/package.json`) as { version: string }).version;
  const ourVersion = (ours(`${name}/package.json`) as { version: string }).version;
  if (theirVersion === ourVersion) return;
  throw new UnfoldError('no-backend', {
    where: folder,
    expected: `${name} ${ourVersion}, as Unfold's`,
    found: theirVersion,
    todo: `install version ${ourVersion} of the package, or let Unfold do it: unfold backend install tensorflow --force`,
  });
}
