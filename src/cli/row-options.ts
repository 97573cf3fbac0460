/** @file Flags that say which tokens of a text give rows: of a harvest, and of training on a live model. */
import type { Command } from 'commander';
import { slice } from './values.ts';

/** All flags. */
export const ROW_FLAGS = [
  '--exclude-special-tokens',
  '--no-exclude-special-tokens',
  '--seqpos-slice',
] as const;

/** Adds --exclude-special-tokens, --no-exclude-special-tokens and --seqpos-slice. */
export function addRowOptions(command: Command): void {
  command
    .option('--exclude-special-tokens', 'leave out rows at BOS, EOS and padding (default)')
    .option('--no-exclude-special-tokens', 'keep them')
    .option(
      '--seqpos-slice <slice>',
      'positions that give rows, as start:stop[:step] in Python, e.g. 1:',
      slice,
    );
}
