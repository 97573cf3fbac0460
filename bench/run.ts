/**
 * @file `npm run bench [-- NAME …]`: runs every claim, or the named ones, each in a process of its own so that memory
 * and threads start fresh, and prints one JSON line a claim. Exit code 1 if a bound is missed.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { BenchLine } from './line.ts';

const folder = fileURLToPath(new URL('.', import.meta.url));
const helpers = new Set(['run', 'line']);

/** Names of the benches: the files of this folder that export `run`. */
function names(): string[] {
  const files = readdirSync(folder).filter((file) => file.endsWith('.ts'));
  return files.map((file) => file.slice(0, -3)).filter((name) => !helpers.has(name));
}

async function one(name: string): Promise<boolean> {
  const bench = (await import(pathToFileURL(`${folder}${name}.ts`).href)) as { run(): Promise<BenchLine[]> };
  const lines = await bench.run();
  for (const line of lines) process.stdout.write(`${JSON.stringify(line)}\n`);
  return lines.every((line) => line.passed !== false);
}

function each(wanted: string[]): boolean {
  const statuses = wanted.map(
    (name) =>
      spawnSync(process.execPath, [...process.execArgv, process.argv[1]!, '--one', name], {
        stdio: 'inherit',
      }).status,
  );
  return statuses.every((status) => status === 0);
}

const [first, ...rest] = process.argv.slice(2);
if (first === '--one') {
  process.exitCode = (await one(rest[0]!)) ? 0 : 1;
} else {
  const wanted = first === undefined ? names() : [first, ...rest];
  const unknown = wanted.filter((name) => !names().includes(name));
  if (unknown.length > 0) {
    process.stderr.write(`no bench called ${unknown.join(', ')}; there are: ${names().join(', ')}\n`);
    process.exitCode = 1;
  } else {
    process.exitCode = each(wanted) ? 0 : 1;
  }
}
