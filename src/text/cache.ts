/** @file Where Unfold keeps what can be made again. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** `$UNFOLD_CACHE`, else `$XDG_CACHE_HOME/unfold`, else `~/.cache/unfold`. */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return env.UNFOLD_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'unfold');
}
