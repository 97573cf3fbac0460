/** @file Outputs on inputs, by each command's own declaration: refused before it runs, also as a job. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import type { CommandSpec } from '../../src/cli/command.ts';
import { commands } from '../../src/cli/commands/index.ts';
import { buildProgram } from '../../src/cli/main.ts';
import { refuseOwnInputs } from '../../src/cli/places.ts';

const dir = mkdtempSync(join(tmpdir(), 'unfold-places-'));
afterAll(() => rmSync(dir, { recursive: true }));
const input = join(dir, 'input');
mkdirSync(input);
writeFileSync(join(input, 'kept'), 'kept');
symlinkSync('input', join(dir, 'linked'));

const below = (spec: CommandSpec, path: string[]): { path: string[]; spec: CommandSpec }[] => [
  { path, spec },
  ...(spec.subcommands ?? []).flatMap((sub) => below(sub, [...path, sub.name])),
];
const all = commands.flatMap((spec) => below(spec, [spec.name]));
const commandAt = (path: readonly string[]): Command =>
  path.reduce((command, name) => command.commands.find((one) => one.name() === name)!, buildProgram());
const cases = all
  .filter(({ spec }) => spec.places)
  .flatMap(({ path, spec }) => spec.places!.reads.map((reads) => ({ path, places: spec.places!, reads })));

/** Judges `reads` = the input and the output = `out`, without running the command. */
async function judge({ path, places, reads }: (typeof cases)[number], out: string): Promise<void> {
  const command = commandAt(path);
  const given = (name: string, value: string) => (name.startsWith('--') ? [name, value] : [value]);
  const { operands } = command.parseOptions([...given(reads, input), ...given(places.writes, out)]);
  command.args = operands;
  await refuseOwnInputs(places, command);
}

describe('the places of commands', () => {
  it('are declared by all that have --out, and name what is declared', () => {
    for (const { path, spec } of all) {
      const command = commandAt(path);
      const flags = command.options.map(({ long }) => long!);
      if (flags.includes('--out')) expect(spec.places, path.join(' ')).toBeDefined();
      const known = [
        ...flags,
        ...command.registeredArguments.flatMap((one) => [`<${one.name()}>`, `[${one.name()}]`]),
      ];
      if (spec.places)
        expect(known, path.join(' ')).toEqual(
          expect.arrayContaining([...spec.places.reads, spec.places.writes]),
        );
    }
    expect(cases.length).toBeGreaterThan(30);
  });

  it.each(cases)('$path refuses an output on $reads, through links and within it', async (one) => {
    for (const out of [input, join(dir, 'linked'), join(dir, 'linked', 'new'), join(input, 'kept')])
      await expect(judge(one, out), out).rejects.toMatchObject({ kind: 'bad-setting' });
    for (const out of [join(dir, 'input2'), 's3://bucket/input'])
      await expect(judge(one, out), out).resolves.toBeUndefined();
  });

  it('leave everything as it was when a command line is refused', async () => {
    for (const line of [
      ['copy', input, join(input, 'copy')],
      ['import', input, '--out', join(dir, 'linked')],
    ])
      await expect(buildProgram().parseAsync(line, { from: 'user' }), line[0]).rejects.toThrow(/input/);
    expect(readdirSync(input)).toEqual(['kept']);
    expect(readFileSync(join(input, 'kept'), 'utf8')).toBe('kept');
  });
});
