/**
 * @file Damaged files of every kind that is read: how many were read all the same, how many ended in a lesson, and how many
 * in anything else (an internal error, a hang, an abort), which must be none. `UNFOLD_MUTATIONS` files of each kind (200).
 * Seeds are fixed: the same command finds the same again, and each fault is told by what it takes to have it again.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { textTable } from '../src/table.ts';
import type { BenchLine } from './line.ts';
import { Watched } from './support/mutation-watch.ts';

/** Files at a time: what a hang or an abort leaves untried. */
const PART = 20;

/** What became of the files of one kind. */
export interface Tally {
  tried: number;
  good: number;
  lessons: number;
  internal: number;
  hangs: number;
  aborts: number;
  faults: string[];
}

/** Tries `each` files of every kind. @param silence milliseconds after which a process is taken for hanging */
export async function mutations(each: number, silence = 60_000): Promise<Map<string, Tally>> {
  const folder = await mkdtemp(join(tmpdir(), 'unfold-trials-'));
  const child = new Watched(folder, silence);
  try {
    const subjects = await child.subjects();
    const tallies = new Map<string, Tally>();
    for (const [index, { kind, hasFields }] of subjects.entries()) {
      const alike = subjects.filter((other) => other.kind === kind).length;
      const count = Math.max(1, Math.ceil(each / alike));
      for (let from = 0; from < count; from += PART) {
        const how = hasFields && (from / PART) % 2 === 0 ? 'fields' : 'bytes';
        const part = { how, from, count: Math.min(PART, count - from) } as const;
        add(tallies, kind, await child.try({ subject: index, part }));
      }
    }
    return tallies;
  } finally {
    child.end();
    await rm(folder, { recursive: true, force: true });
  }
}

function add(tallies: Map<string, Tally>, kind: string, found: Tally): void {
  const tally = tallies.get(kind);
  if (!tally) return void tallies.set(kind, found);
  for (const key of ['tried', 'good', 'lessons', 'internal', 'hangs', 'aborts'] as const)
    tally[key] += found[key];
  tally.faults.push(...found.faults);
}

/** `npm run bench -- mutations`. */
export async function run(): Promise<BenchLine[]> {
  const tallies = await mutations(Number(process.env.UNFOLD_MUTATIONS ?? 200));
  const rows = [...tallies].map(([kind, { tried, good, lessons, internal, hangs, aborts }]) => [
    kind,
    ...[tried, good, lessons, internal, hangs, aborts].map(String),
  ]);
  const head = ['files', 'tried', 'good reads', 'lessons', 'internal errors', 'hangs', 'aborts'];
  process.stderr.write(`${textTable(head, rows)}\n`);
  return [...tallies].map(([kind, { faults, ...counts }]) => {
    const value = counts.internal + counts.hangs + counts.aborts;
    const detail = { ...counts, faults: faults.slice(0, 10) };
    return {
      name: 'mutations',
      value,
      bound: 0,
      passed: value === 0,
      unit: 'faults',
      ratio_to: kind,
      detail,
    };
  });
}
