/**
 * @file Kills: `npm run bench -- kills` strikes runs at random moments (UNFOLD_KILLS of them, 125 unless given; seed
 * UNFOLD_SEED) and says whether the same command, run again, ended with the bytes of an undisturbed run and left nothing.
 */
import { textTable } from '../src/table.ts';
import type { BenchLine } from './line.ts';
import { strikeRuns } from './support/kills.ts';

/** See the file. */
export async function run(): Promise<BenchLine[]> {
  const seed = Number(process.env.UNFOLD_SEED || 1);
  const { runs, strikes, differing, leftovers, failures } = await strikeRuns(
    Number(process.env.UNFOLD_KILLS || 125),
    seed,
  );
  const bad = { 'differing files': differing, leftovers, 'failed reruns': failures };
  const counts = Object.fromEntries(Object.entries(bad).map(([name, found]) => [name, found.length]));
  process.stderr.write(`${table({ runs, ...strikes, ...counts })}\n`);
  for (const words of Object.values(bad).flat()) process.stderr.write(`${words}\n`);
  const value = Object.values(bad).flat().length;
  return [
    {
      name: 'kills',
      value,
      bound: 0,
      passed: value === 0,
      unit: 'faults',
      ratio_to: 'an undisturbed run of the same pipeline',
      detail: { seed, runs, ...strikes, ...counts },
    },
  ];
}

function table(counts: Readonly<Record<string, number>>): string {
  return textTable(Object.keys(counts), [Object.values(counts)]);
}
