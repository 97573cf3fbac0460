/**
 * @file How this installation is called, so that every command that Unfold prints works when pasted: `unfold` where it
 * is on the PATH (npm install -g), `npx unfold` in a clone or as a project's dependency.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** `unfold` or `npx unfold`. */
export function invocation(path = process.env.PATH ?? ''): string {
  const globally = path
    .split(delimiter)
    .filter((folder) => folder !== '' && !folder.includes('node_modules'))
    .some((folder) => isExecutable(join(folder, 'unfold')));
  return globally ? 'unfold' : 'npx unfold';
}

/** The command line as it has to be typed here: `unfold run x` → `npx unfold run x`. */
export function pasteable(command: string): string {
  return command.replace(/(^|\| )unfold /g, `$1${invocation()} `);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
