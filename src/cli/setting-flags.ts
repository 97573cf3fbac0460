/** @file How commands whose flags are settings read them: `--d-sae 1024` is `d_sae: 1024`, and so is `--set d_sae=1024`. */
import type { Command } from 'commander';
import { names, natural, number, numberOrShare, type Parser, positive, text } from './values.ts';

/**
 * A flag with its argument, and what help says about it: `['--d-sae <n>', 'number of latents']`. What the argument is called
 * decides what it may be, see {@link PARSERS}.
 */
export type SettingFlag = readonly [flag: string, about: string];

/** What a flag's argument may be, by what it is called; text unless it is here. Bounds are the setting's own. */
const PARSERS: Readonly<Record<string, Parser<unknown>>> = {
  n: positive,
  tokens: positive,
  'n or 0': natural,
  x: number,
  'x or null': (value) => (value === 'null' ? null : number(value)),
  'n or %': numberOrShare,
  names,
};

/** `--d-sae` of `--d-sae <n>`. */
export const flagNames = (flags: readonly SettingFlag[]): string[] =>
  flags.map(([flag]) => flag.split(' ')[0]!);

/** Declares the flags. */
export function addSettingFlags(command: Command, flags: readonly SettingFlag[]): void {
  for (const [flag, about] of flags) {
    const parse = PARSERS[/<(.*)>/.exec(flag)?.[1] ?? ''] ?? text;
    // "{active}" of a sweep stands for values of its grid.
    command.option(flag, about, (value: string) => (/^\{\w+\}$/.test(value) ? value : parse(value)));
  }
}

/** Flags that were given, under the settings' names. */
export function settingsOf(
  flags: readonly SettingFlag[],
  options: Record<string, unknown>,
): Record<string, unknown> {
  const entries = flags.map(([flag]) => {
    const name = flag.slice(2, flag.indexOf(' '));
    const camel = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    return [name.replaceAll('-', '_'), options[camel]] as const;
  });
  return Object.fromEntries(entries.filter(([, given]) => given !== undefined));
}
