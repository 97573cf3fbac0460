/**
 * @file Kills: `npm run bench -- kills` strikes runs at random moments (UNFOLD_KILLS of them, 125 unless given; seed
 * UNFOLD_SEED), and every single command UNFOLD_KILLS_EACH times (6 unless given), and says whether the same command, run again, ended with the bytes of an undisturbed run and left nothing.
 */
import { textTable } from '../src/table.ts';
import type { BenchLine } from './line.ts';
import { STRUCK_COMMANDS, strikeCommands } from './support/kill-commands.ts';
import { strikeRuns } from './support/kills.ts';
import type { Struck } from './support/strike.ts';

/** See the file. */
export async function run(): Promise<BenchLine[]> {
  const seed = Number(process.env.UNFOLD_SEED || 1);
  const kills = Number(process.env.UNFOLD_KILLS || 125);
  const each = Number(process.env.UNFOLD_KILLS_EACH || 6);
  const single = await strikeCommands(Object.keys(STRUCK_COMMANDS), each, seed);
  const found = { ...single, ...(kills > 0 && { run: await strikeRuns(kills, seed) }) };
  const rows = Object.entries(found).map(([name, struck]) => [name, ...Object.values(countsOf(struck))]);
  process.stderr.write(`${textTable(['command', ...COLUMNS], rows)}\n`);
  const faults = Object.values(found).flatMap(faultsOf);
  for (const words of faults) process.stderr.write(`${words}\n`);
  return [
    {
      name: 'kills',
      value: faults.length,
      bound: 0,
      passed: faults.length === 0,
      unit: 'faults',
      ratio_to: 'an undisturbed run of the same pipeline or command',
      detail: { seed, ...Object.fromEntries(Object.entries(found).map(([n, s]) => [n, countsOf(s)])) },
    },
  ];
}

const COLUMNS = ['runs', 'strikes that hit', 'differing files', 'leftovers', 'failed reruns'] as const;

function countsOf({ runs, strikes, differing, leftovers, failures }: Struck): Record<string, number> {
  const hit = Object.values(strikes).reduce((sum, n) => sum + n, 0);
  const counts = [runs, hit, differing.length, leftovers.length, failures.length];
  return Object.fromEntries(COLUMNS.map((name, i) => [name, counts[i]!]));
}

const faultsOf = ({ differing, leftovers, failures }: Struck) => [...differing, ...leftovers, ...failures];
