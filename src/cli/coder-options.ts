/** @file Options that say which of several coders is meant, and in which layout: the same for every command that takes one. */
import { type Command, Option } from 'commander';
import { natural } from './values.ts';

const RULES = ['threshold', 'topk'] as const;

/** All flags. */
export const CODER_FLAGS = ['--format', '--layer', '--hook', '--name', '--rule'] as const;

/** Adds --format, --layer, --hook, --name and --rule. */
export function addCoderOptions(command: Command): void {
  command
    .option('--format <name>', 'layout of the coder, where its files fit several (see unfold import --help)')
    .option('--layer <n>', 'of a set: the coder of this layer', natural)
    .option('--hook <name>', 'of a set: the coder that reads or writes this hook')
    .option('--name <name>', 'of a set: the coder of this name, as unfold info lists them')
    .addOption(
      new Option(
        '--rule <name>',
        'dictionary_learning’s TopK and BatchTopK: its threshold, or the k largest of a row',
      ).choices(RULES),
    );
}

/** The options as the library takes them. */
export function coderOptions(options: Record<string, unknown>) {
  const { format, layer, hook, name, rule } = options as {
    format?: string;
    layer?: number;
    hook?: string;
    name?: string;
    rule?: (typeof RULES)[number];
  };
  return { format, layer, hook, name, rule };
}
