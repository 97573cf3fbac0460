/**
 * @file The content hash of a dataset (see digests.ts); whatever a manifest says is checked against the bytes.
 */
import type { StageContext } from '../context.ts';
import { Digests } from '../digests.ts';
import { UnfoldError } from '../errors.ts';
import { type Dataset, datasetHash } from './dataset.ts';

/** SHA-256 over the dataset's files; `cacheDir` null remembers nothing. @throws UnfoldError `bad-manifest`. */
export async function fingerprint(
  dataset: Dataset,
  cacheDir: string | null,
  context: StageContext,
): Promise<string> {
  const memory = await Digests.open(cacheDir);
  const paths = dataset.files.map(({ path }) => path);
  const digests = await memory.of(paths, context, 'hash dataset');
  for (const [i, { path, sha256 }] of dataset.files.entries())
    if (sha256 !== undefined && sha256 !== digests[i]) throw changed(path, sha256, digests[i]!);
  return datasetHash(digests, dataset);
}

function changed(path: string, expected: string, found: string): UnfoldError {
  return new UnfoldError('bad-manifest', {
    where: path,
    expected: `SHA-256 ${expected.slice(0, 16)}…, as the manifest says`,
    found: `${found.slice(0, 16)}…`,
    todo: 'fetch the dataset again, or write the new hash into the manifest if the change was meant',
  });
}
