/** @file `unfold info`: what a folder or file holds. */
import type { Command } from 'commander';
import { addCoderOptions, coderOptions } from '../coder-options.ts';
import { BEGINS_AGAIN, type CommandSpec } from '../command.ts';

const command: CommandSpec = {
  name: 'info',
  summary: 'say what a coder, a set of coders, a training run or a folder of shards is',
  description: `Prints architecture, shapes, hooks, origin and state of a path, from its manifests and headers; no tensor is read.
Coders may be in any layout (see unfold import --help), sets of them too; every file's SHA-256 is given.`,
  examples: [
    ['unfold info runs/quickstart/train/run/final', 'a coder: architecture, hook, L0, tensors, hashes'],
    ['unfold info runs/quickstart/train/run', 'a training run: settings, checkpoints, last metrics'],
    ['unfold info runs/quickstart/harvest/activations --json', 'activation shards, as JSON'],
  ],
  afterStop: BEGINS_AGAIN,
  configure(command: Command) {
    command.argument('<path>', 'coder, set of coders, training run or shards');
    addCoderOptions(command);
  },
  async run([path], options, io) {
    const { infoOf } = await import('../../train/info.ts');
    const info = await infoOf(path!, coderOptions(options));
    io.emit(info);
    if (io.json) return;
    const { textTable } = await import('../../table.ts');
    const { coders, ...facts } = info;
    const lines = Object.entries(facts).flatMap(([name, value]) => rows(name, value));
    io.print(textTable([], lines));
    if (!Array.isArray(coders)) return;
    const { coderTable } = await import('../coder-table.ts');
    io.print(coderTable(coders as Record<string, unknown>[]));
  },
};

export default command;

/** One line a fact, several for a group of them. */
function rows(name: string, value: unknown): [string, string][] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return [[name, value.join('\n')]];
  if (typeof value !== 'object') return [[name, String(value)]];
  return Object.entries(value).flatMap(([key, inner]) => rows(`${name}.${key}`, inner));
}
