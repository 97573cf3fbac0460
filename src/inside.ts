/**
 * @file Files that a list names by their place in the list's own folder: state.json of a `datasets` folder, manifests,
 * indices of shards. Such a list may come from anywhere; it can name nothing outside of the folder, not by `..`, not by an
 * absolute path, not through a link. The links of a hub's cache, from `snapshots` to the `blobs` beside it, are its own.
 */
import { realpath } from 'node:fs/promises';
import { isAbsolute, join, normalize, sep } from 'node:path';
import { brief } from './checked.ts';
import { UnfoldError } from './errors.ts';

/** What the lesson says. */
export interface Listing {
  /** The list. */
  where: string;
  kind: string;
  todo: string;
}

/**
 * The path of the file that a list in `folder` calls `name`; it need not be there.
 * @throws UnfoldError of the asked kind for a name that leads outside
 */
export async function fileInside(folder: string, name: string, listing: Listing): Promise<string> {
  if (!staysInside(name)) throw outside(name, listing);
  const path = join(folder, name);
  const [real, home] = await Promise.all(
    [path, folder].map((place) => realpath(place).catch(() => undefined)),
  );
  if (real === undefined || home === undefined) return path;
  if (real.startsWith(home + sep) || isBlobOf(real, home)) return path;
  throw outside(name, listing, `${brief(name)}, a link to ${real}`);
}

/** True for the name of something in a folder, by the name alone. */
export function staysInside(name: string): boolean {
  const parts = normalize(name).split(/[\\/]/);
  return (
    name !== '' && !name.includes('\0') && !isAbsolute(name) && parts[0] !== '..' && parts.join('') !== '.'
  );
}

/** `…/snapshots/COMMIT/…` → `…/blobs/…` */
function isBlobOf(real: string, home: string): boolean {
  const root = /^(.*)[\\/]snapshots[\\/][^\\/]+/.exec(home)?.[1];
  return root !== undefined && real.startsWith(join(root, 'blobs') + sep);
}

function outside(name: string, { where, kind, todo }: Listing, found = brief(name)): UnfoldError {
  return new UnfoldError(kind, { where, expected: 'names of files in this folder', found, todo });
}
