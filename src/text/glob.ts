/** @file File patterns: `*` within a name, `**` across folders, `?`, `{a,b}`. Node has none of its own before 22. */
import { readdir } from 'node:fs/promises';
import { join, sep } from 'node:path';

/** True if the path is a pattern rather than a name. */
export function isGlob(path: string): boolean {
  return /[*?{]/.test(path);
}

/** The files that match, sorted by path. */
export async function glob(pattern: string): Promise<string[]> {
  const steps = pattern.split('/');
  const fixed = steps.findIndex(isGlob);
  const base = steps.slice(0, fixed).join('/') || (pattern.startsWith('/') ? '/' : '.');
  const match = new RegExp(
    `^${steps.slice(fixed).map(stepSource).join('/').replaceAll('.*/', '(?:.*/)?')}$`,
    'u',
  );
  const files = await listFiles(base);
  return files.filter((file) => match.test(file)).map((file) => (base === '.' ? file : join(base, file)));
}

/** Every file below a folder, as sorted paths relative to it; hidden files and folders are passed over. */
export async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const nested = entries
    .filter((entry) => !entry.name.startsWith('.'))
    .map(async (entry) => {
      const isFolder = entry.isDirectory();
      if (!isFolder) return [entry.name];
      return (await listFiles(join(folder, entry.name))).map((file) => `${entry.name}/${file}`);
    });
  return (await Promise.all(nested))
    .flat()
    .map((file) => file.replaceAll(sep, '/'))
    .sort(byCodePoint);
}

/** A step of a pattern as the source of a regular expression. */
function stepSource(step: string): string {
  if (step === '**') return '.*';
  let depth = 0;
  return step.replace(/[\\^$.|+()[\]*?{},]/g, (character) => {
    if (character === '*') return '[^/]*';
    if (character === '?') return '[^/]';
    if (character === '{') return ++depth ? '(?:' : '';
    if (character === '}' && depth > 0) return --depth >= 0 ? ')' : '';
    if (character === ',') return depth > 0 ? '|' : ',';
    return `\\${character}`;
  });
}

function byCodePoint(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
