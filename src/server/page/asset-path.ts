/**
 * @file Where the page's style sheet and script lie: beside the sources, served as they are written, whether the server runs
 * from `src` or from `dist`.
 */
import { fileURLToPath } from 'node:url';

/** From src/server/page and from dist/server/page it is as far to the package's folder. */
const FOLDER = new URL('../../../src/server/assets/', import.meta.url);

/** Path of a file of the page. */
export function assetPath(name: string): string {
  return fileURLToPath(new URL(name, FOLDER));
}
