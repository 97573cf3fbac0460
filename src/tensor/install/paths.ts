/**
 * @file Where backends that npm does not bring are kept: a folder of their own in the user's cache, so that neither
 * `npm ci` in a project nor an update of Unfold throws gigabytes away.
 */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/** Unfold's cache: `UNFOLD_CACHE`, else `$XDG_CACHE_HOME/unfold`, else `~/.cache/unfold`. */
export function cacheFolder(): string {
  const { UNFOLD_CACHE, XDG_CACHE_HOME } = process.env;
  if (UNFOLD_CACHE) return resolve(UNFOLD_CACHE);
  return join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'unfold');
}

/** The folder of an installed backend: `tensorflow`, `tensorflow-cpu` or `webgpu`. */
export function backendFolder(variant: string): string {
  return join(cacheFolder(), 'backends', variant);
}

/** The record written last: an installation without it is not finished and is not used. */
export const RECORD = 'unfold-backend.json';
