/**
 * @file What is known of a coder's files besides themselves: a run's manifest.json lists those of `final/`, state.json of a
 * checkpoint those beside it, manifest.json of an import or export its coders. Where a hash was written, it is checked when the file is read.
 */
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { UnfoldError } from '../../errors.ts';
import { readJson } from '../../files.ts';
import { damageOfFile, type FileRecord, listedIn } from '../../inventory.ts';
import { sealOf } from '../../seal.ts';
import { WRITTEN, WRITTEN_FORMAT } from './written-name.ts';

const WEIGHTS = 'sae_weights.safetensors';

/** Recorded files of a folder, with the name of whatever recorded them. */
interface Recorded {
  by: string;
  files: FileRecord[];
  /** What to do if one of them is damaged. */
  todo: string;
}

/**
 * Holds the files in `dir` against what a run or checkpoint recorded of them; a folder of which nothing is known passes.
 * @param names only these
 * @throws UnfoldError `damaged`
 */
export async function checkRecorded(dir: string, names?: readonly string[]): Promise<void> {
  const recorded = await recordedOf(dir);
  for (const record of recorded?.files ?? []) {
    if (names && !names.includes(record.file)) continue;
    const path = join(dir, record.file);
    const damage = await damageOfFile(path, record);
    if (damage)
      throw new UnfoldError('damaged', {
        where: path,
        expected: `${damage.expected}, as ${recorded!.by} says`,
        found: damage.found,
        todo: recorded!.todo,
      });
  }
}

async function recordedOf(dir: string): Promise<Recorded | undefined> {
  const real = await realpath(dir).catch(() => undefined);
  if (real === undefined) return undefined;
  if (basename(real) === 'final') {
    const by = join(dirname(real), 'manifest.json');
    const inside = (await listedIn(by)).filter(({ file }) => file.startsWith('final/'));
    const files = inside.map((record) => ({ ...record, file: record.file.slice('final/'.length) }));
    const todo = `remove ${real} and run the command that made it once more: it is made again from the last checkpoint`;
    return { by, files: files.length > 0 ? files : await weightsOf(by, real), todo };
  }
  const by = join(real, 'state.json');
  const files = await listedIn(by);
  const todo = `remove ${real}: the run goes on from the checkpoint before it`;
  return files.length > 0 ? { by, files, todo } : convertedIn(real);
}

/** Coders that were imported or exported: a manifest lies beside one, above several. */
async function convertedIn(real: string): Promise<Recorded | undefined> {
  const name = `${basename(real)}/`;
  for (const [folder, prefix] of [
    [real, ''],
    [dirname(real), name],
  ] as const) {
    const by = join(folder, WRITTEN);
    const { format } = ((await readJson(by).catch(() => undefined)) ?? {}) as { format?: unknown };
    if (format !== WRITTEN_FORMAT) continue;
    const inside = (await listedIn(by)).filter(({ file }) => file.startsWith(prefix));
    const files = inside.map((record) => ({ ...record, file: record.file.slice(prefix.length) }));
    const todo = `remove ${folder} and import or export again; if the change is meant, remove ${by}`;
    if (files.length > 0) return { by, files, todo };
  }
  return undefined;
}

/** Manifests of earlier versions know the hash of the weights alone. */
async function weightsOf(by: string, dir: string): Promise<FileRecord[]> {
  const manifest = (await readJson(by).catch(() => undefined)) as { weights?: unknown } | undefined;
  const found = await stat(join(dir, WEIGHTS)).catch(() => undefined);
  if (typeof manifest?.weights !== 'string' || !found || sealOf(manifest) !== 'none') return [];
  return [{ file: WEIGHTS, bytes: found.size, sha256: manifest.weights }];
}
