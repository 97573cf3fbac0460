/** @file Where Unfold keeps what lasts longer than a command and belongs to one person on one machine. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** $UNFOLD_STATE, else unfold in $XDG_STATE_HOME, else ~/.local/state/unfold. */
export function stateFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env.UNFOLD_STATE || join(env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'unfold');
}
