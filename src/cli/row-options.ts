/** @file Flags that say which tokens of a text give rows: of a harvest, and of training on a live model. */
import { type Command, InvalidArgumentError } from 'commander';

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

/** `1:` -> [1, null]; `:64` -> [null, 64]; `1:-1:2` -> [1, -1, 2]. */
function slice(value: string): (number | null)[] {
  const parts = value.split(':').map((part) => (part.trim() === '' ? null : Number(part)));
  const whole = parts.every((part) => part === null || Number.isSafeInteger(part));
  if (whole && (parts.length === 2 || parts.length === 3)) return parts;
  throw new InvalidArgumentError('start:stop or start:stop:step is expected');
}
