/** @file The built command line: what a user runs after `npm ci`. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { commands } from '../../src/cli/commands/index.ts';
import { buildProgram } from '../../src/cli/main.ts';
import { invocation, pasteable } from '../../src/invocation.ts';

const root = join(import.meta.dirname, '../..');
const unfold = (...args: string[]) =>
  spawnSync(process.execPath, [join(root, 'bin/unfold.js'), ...args], { cwd: root, encoding: 'utf8' });

test('no built file imports a .ts file', () => {
  const files = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' });
  const built = files.filter((file) => file.endsWith('.js'));
  const importing = built.filter((file) =>
    /(from|import\()\s*['"][^'"]*\.ts['"]/.test(readFileSync(join(root, 'dist', file), 'utf8')),
  );
  expect(built.length).toBeGreaterThan(100);
  expect(importing).toEqual([]);
});

test('unfold --help names every command', () => {
  const { status, stdout } = unfold('--help');
  expect(status).toBe(0);
  for (const { name } of commands) expect(stdout).toContain(`  ${name}`);
});

test('every example of every --help parses, and begins with unfold', () => {
  const everySpec = commands.flatMap((spec) => [spec, ...(spec.subcommands ?? [])]);
  for (const spec of everySpec) {
    expect(spec.examples.length).toBeGreaterThan(0);
    for (const [line] of spec.examples) {
      const [program, ...rest] = words(line.split('| ').at(-1)!);
      expect(program).toBe('unfold');
      expect(() => parsedBy(buildProgram(), rest), line).not.toThrow();
      expect(parsedBy(buildProgram(), rest), line).toEqual([]);
    }
  }
});

test('a mistyped command is refused with the nearest one', () => {
  const { status, stderr } = unfold('harvst');
  expect(status).toBe(1);
  expect(stderr).toContain('Did you mean harvest?');
});

test('with --json an error is one JSON object that says where, expected, found and what to do', () => {
  const { status, stdout } = unfold('info', 'no/such/folder', '--json');
  expect(status).toBe(1);
  const { error } = JSON.parse(stdout) as { error: Record<string, string> };
  expect(Object.keys(error).sort()).toEqual(['expected', 'found', 'kind', 'todo', 'where']);
  expect(error.where).toContain('no/such/folder');
});

test('… and so is a mistyped option', () => {
  const { status, stdout, stderr } = unfold('enqueue', 'probe', '--out', 'runs/x', '--sconds', '2', '--json');
  expect(status).toBe(1);
  expect(stderr).toContain('Did you mean --seconds?');
  const { error } = JSON.parse(stdout) as { error: Record<string, string> };
  expect(error).toMatchObject({ kind: 'bad-usage', found: expect.stringContaining('--sconds') });
});

test('the library is one import away, with the model behind it', () => {
  const program = `
    import { loadGPT2, useBackend } from 'unfold-sae';
    await useBackend('cpu');
    const model = await loadGPT2('checkpoints/novels-4l');
    const { cache } = model.runWithCache([[4095, 1, 2]], { namesFilter: 'blocks.2.hook_resid_pre' });
    console.log(JSON.stringify(cache.get('blocks.2.hook_resid_pre').shape));`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8',
  });
  expect(child.stderr).toBe('');
  expect(child.stdout.trim()).toBe('[1,3,128]');
});

test('printed commands work when pasted: npx where unfold is not on the PATH', () => {
  expect(invocation('')).toBe('npx unfold');
  expect(pasteable('python -c 1')).toBe('python -c 1');
});

/** Options that neither the command nor the subcommand of these arguments knows. */
function parsedBy(program: Command, args: string[]): string[] {
  const below = program.commands.find((candidate) => candidate.name() === args[0]);
  if (below) return parsedBy(below, args.slice(1));
  if (!program.parent) throw new Error(`no command ${args[0]}`);
  return program.parseOptions(args).unknown;
}

/** Words of a shell line; double quotes hold words together. */
function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
}
