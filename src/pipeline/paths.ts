/**
 * @file Where the paths in a pipeline lead. A path that is not absolute is looked for, in this order, in the current
 * directory, beside the pipeline's file, and in the Unfold package itself (where `datasets/novels` and
 * `checkpoints/novels-4l` are); the first place that has it wins. So the bundled recipes run from anywhere, and a
 * `datasets/` of yours comes first.
 */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { internal } from '../errors.ts';

/** The folder of the `unfold-sae` package: the nearest one above this file with its package.json. */
export function packageRoot(): string {
  for (let dir = dirname(fileURLToPath(import.meta.url)); ; dir = dirname(dir)) {
    const file = join(dir, 'package.json');
    if (existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).name === 'unfold-sae') return dir;
    if (dir === dirname(dir)) internal('no package.json of unfold-sae above the source');
  }
}

/** The places a relative path is looked for. */
export function searchPlaces(pipelineFile?: string): string[] {
  const beside = pipelineFile === undefined ? [] : [dirname(resolve(pipelineFile))];
  return [process.cwd(), ...beside, packageRoot()];
}

/**
 * The first existing place of `path`, absolute; `path` itself when there is none (a hub id, or an error that the reader
 * of the path explains better). A glob's folder is what has to exist.
 */
export function resolvePath(path: string, places: readonly string[]): string {
  const expanded = path.startsWith('~/') ? join(homedir(), path.slice(2)) : path;
  if (isAbsolute(expanded)) return expanded;
  const solid = expanded.replace(/\/?[^/]*[*?[{].*$/, '');
  const place = places.find((dir) => existsSync(join(dir, solid)));
  return place === undefined ? path : join(place, expanded);
}
