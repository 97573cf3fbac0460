/** @file Options that have no effect where they are given are refused, by each command's own table. */
import { describe, expect, it } from 'vitest';
import type { CommandSpec } from '../../src/cli/command.ts';
import { commands } from '../../src/cli/commands/index.ts';
import { buildProgram } from '../../src/cli/main.ts';
import { refuseWithoutEffect } from '../../src/cli/modes.ts';

/** Commands that have modes, with their path. */
const specs = commands
  .flatMap((spec) => [
    { path: [spec.name], spec },
    ...(spec.subcommands ?? []).map((sub) => ({ path: [spec.name, sub.name], spec: sub })),
  ])
  .filter(({ spec }) => spec.modes);

const commandAt = (path: readonly string[]) =>
  path.reduce((command, name) => command.commands.find((below) => below.name() === name)!, buildProgram());

/** Judges a command line without running it. */
function judge(line: string): void {
  const path = line.split(' ').slice(0, line.startsWith('enqueue') && !line.startsWith('enqueue --') ? 2 : 1);
  const known = specs.find(({ path: of }) => of.join(' ') === path.join(' '));
  const { spec, path: own } = known ?? {
    spec: commands.find(({ name }) => name === path[0])!,
    path: path.slice(0, 1),
  };
  const command = commandAt(own);
  const { operands } = command.parseOptions(line.split(' ').slice(own.length));
  refuseWithoutEffect((spec as CommandSpec).modes!, command, operands);
}

describe('the modes of commands', () => {
  it('place every option: none is declared that no mode takes, and none is named that is not declared', () => {
    expect(specs.length).toBeGreaterThan(15);
    for (const { path, spec } of specs) {
      const declared = commandAt(path)
        .options.map(({ long }) => long!)
        .filter((flag) => !['--json', '--quiet', '--backend', '--help'].includes(flag));
      const { always, takes } = spec.modes!;
      const placed = new Set([...always, ...Object.values(takes).flat()]);
      expect(
        [...placed].filter((flag) => !declared.includes(flag)),
        path.join(' '),
      ).toEqual([]);
      expect(
        declared.filter((flag) => !placed.has(flag)),
        path.join(' '),
      ).toEqual([]);
    }
  });

  it.each([
    ['train --shards s --out o --max-tokens 100', '--max-tokens', '--model'],
    ['train --shards s --out o --no-prepend-bos', '--no-prepend-bos', '--model'],
    ['train --shards s --out o --dataset novels --sweep f', '--dataset', '--model'],
    ['enqueue train --shards s --out o --context-size 64', '--context-size', '--model'],
    ['evaluate --coder c --shards s --batch-contexts 4', '--batch-contexts', '--dataset and --tokens'],
    ['evaluate --coder c --model m --tokens t --max-tokens 5', '--max-tokens', '--shards and --dataset'],
    ['evaluate --coder c --model m --tokens t --context-size 5', '--context-size', '--dataset'],
    ['finetune --coder c --model m --out o --tokens t --max-tokens 5', '--max-tokens', '--dataset'],
    ['cache --model m --tokens t --hooks all --out o --no-prepend-bos', '--no-prepend-bos', '--prompt'],
    ['synth --toy --out o --seeds 1', '--seeds', 'a benchmark file'],
    ['synth f --coder c --training-tokens 5', '--training-tokens', 'a benchmark file'],
    ['synth f --out o --features 3', '--features', '--toy'],
    ['synth f --out o --layer 0', '--layer', '--coder'],
    ['generate --model m --prompt p --temperature 0 --top-k 5', '--top-k', 'drawing'],
    ['tokenise --model m --text t --json --limit 5', '--limit', 'a table'],
    ['export c --format saelens --out o --scan s', '--scan', '--format circuit-tracer'],
    ['export c --format circuit-tracer --out o --hookpoint h', '--hookpoint', '--format sparsify'],
    ['worker --host 0.0.0.0', '--host', '--port'],
    ['backend install webgpu --cpu', '--cpu', 'tensorflow'],
    ['jobs quick --all', '--all', 'all flows'],
  ])('refuse %s', (line, flag, home) => {
    expect(() => judge(line)).toThrow(`${flag}, which belongs to ${home}`);
  });

  it.each([
    'train --model m --dataset d --hook-name h --out o --max-tokens 100 --no-exclude-special-tokens',
    'evaluate --coder c --shards s --max-tokens 100 --all-tokens',
    'enqueue synth f --coder c --out o --wait',
    'generate --model m --prompt p --seed 1',
    'worker --port 0 --host 127.0.0.1',
    'jobs --all',
  ])('let pass %s', (line) => {
    expect(() => judge(line)).not.toThrow();
  });
});
