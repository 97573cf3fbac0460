/** @file The version in package.json, which manifests record. */
import { readFileSync } from 'node:fs';

/** `0.1.0` */
export function packageVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
