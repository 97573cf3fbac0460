/** @file `unfold info`: what a folder holds. */
import type { Command } from 'commander';
import type { CommandSpec } from '../command.ts';

const command: CommandSpec = {
  name: 'info',
  summary: 'say what a coder, a training run or a folder of shards is',
  description:
    'Prints architecture, shapes, origin and state of a folder, from its manifests and headers; no tensor is read.',
  examples: [
    ['unfold info runs/quickstart/train/run/final', 'a coder: architecture, hook, L0, tensors'],
    ['unfold info runs/quickstart/train/run', 'a training run: settings, checkpoints, last metrics'],
    ['unfold info runs/quickstart/harvest/activations --json', 'activation shards, as JSON'],
  ],
  configure(command: Command) {
    command.argument('<path>', 'folder of a coder, a training run or shards');
  },
  async run([path], _options, io) {
    const { infoOf } = await import('../../train/info.ts');
    const info = await infoOf(path!);
    io.emit(info);
    if (io.json) return;
    const { textTable } = await import('../../table.ts');
    io.print(
      textTable(
        [],
        Object.entries(info).flatMap(([name, value]) => rows(name, value)),
      ),
    );
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
