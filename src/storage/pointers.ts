/**
 * @file `harvest → harvest-1a2b3c4d`: the symbolic links by which a run's folder names its newest stages. An object store
 * has none, so they are made again after a run is fetched, from what the stages' own manifests say.
 */
import { readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { readJson } from '../files.ts';

/**
 * In `dir` and folders at most two levels below it, links each stage's name to its folder that was finished last, where
 * nothing has that name yet.
 * @returns the links, relative to `dir`
 */
export async function restorePointers(dir: string, depth = 2, prefix = ''): Promise<string[]> {
  const entries = await readdir(join(dir, prefix), { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const made: string[] = [];
  for (const [stage, folder] of await newest(join(dir, prefix), folders)) {
    const link = join(prefix, stage);
    const isNew = await symlink(folder, join(dir, link)).then(
      () => true,
      () => false,
    );
    if (isNew) made.push(link);
  }
  if (depth === 0) return made;
  for (const folder of folders) {
    if (!isStageFolder(folder)) made.push(...(await restorePointers(dir, depth - 1, join(prefix, folder))));
  }
  return made;
}

async function newest(dir: string, folders: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, { folder: string; at: string }>();
  for (const folder of folders.filter(isStageFolder).sort()) {
    const manifest = await readJson(join(dir, folder, 'stage.json')).catch(() => undefined);
    const { stage, finished_at } = (manifest ?? {}) as Record<string, unknown>;
    if (typeof stage !== 'string' || typeof finished_at !== 'string' || !folder.startsWith(`${stage}-`))
      continue;
    if (finished_at > (found.get(stage)?.at ?? '')) found.set(stage, { folder, at: finished_at });
  }
  return new Map([...found].map(([stage, { folder }]) => [stage, folder]));
}

function isStageFolder(name: string): boolean {
  return /^[a-z][a-z0-9-]*-[0-9a-f]{8}$/.test(name);
}
