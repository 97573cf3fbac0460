/**
 * @file Flags that say where a data set's text stands and how it is packed, the same for every command that reads text
 * (harvest, train on a live model, evaluate, finetune): whatever an error about text advises can be taken there.
 */
import type { Command } from 'commander';
import { corpusSpecSchema, type TextChanges } from '../text/spec.ts';
import { natural, type Parser, positive, separator, sequenceToken, text } from './values.ts';

type Key = Exclude<keyof typeof corpusSpecSchema.shape, 'dataset'>;

/** Flag, what it takes, and how that is read. */
const FLAGS: readonly (readonly [key: Key, argument: string, parse: Parser<unknown>])[] = [
  ['text_column', '<name>', text],
  ['tokens_column', '<name>', text],
  ['document_separator', '<text>', separator],
  ['begin_sequence_token', '<bos, eos, id or null>', sequenceToken],
  ['sequence_separator_token', '<bos, eos, id or null>', sequenceToken],
  ['pool_tokens', '<n>', positive],
  ['skip_contexts', '<n>', natural],
];
const SWITCHES = ['disable_concat_sequences', 'repack', 'special_tokens_in_text'] as const;

const flagOf = (key: string) => `--${key.replaceAll('_', '-')}`;
const camelOf = (key: string) => key.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());

/** All flags. */
export const TEXT_FLAGS: readonly string[] = [
  ...[...FLAGS.map(([key]) => key), ...SWITCHES].map(flagOf),
  '--no-disable-concat-sequences',
  '--prepend-bos',
  '--no-prepend-bos',
];

/** Adds the flags. `packing` says what holds where none is given: "the coder's", or nothing for the defaults. */
export function addTextOptions(command: Command, packing = ''): void {
  const about = (key: Key) => corpusSpecSchema.shape[key].description ?? key;
  const otherwise = packing ? ` (default: ${packing})` : '';
  for (const [key, argument, parse] of FLAGS) command.option(`${flagOf(key)} ${argument}`, about(key), parse);
  for (const key of SWITCHES) command.option(flagOf(key), about(key));
  command
    .option('--no-disable-concat-sequences', `pack documents one after another${otherwise}`)
    .option('--prepend-bos', `${about('prepend_bos')}${otherwise || ' (default)'}`)
    .option('--no-prepend-bos', 'contexts of text alone: for models without a BOS token');
}

/** What was given, under the settings' names; undefined if nothing was. */
export function textOptions(options: Readonly<Record<string, unknown>>): TextChanges | undefined {
  const keys = [...FLAGS.map(([key]) => key), ...SWITCHES, 'prepend_bos'];
  const given = keys.map((key) => [key, options[camelOf(key)]]).filter(([, value]) => value !== undefined);
  return given.length > 0 ? (Object.fromEntries(given) as TextChanges) : undefined;
}

/** Whether commander's name of an option is one of these flags. */
export function isTextOption(camel: string): boolean {
  return [...FLAGS.map(([key]) => key), ...SWITCHES, 'prepend_bos'].some((key) => camelOf(key) === camel);
}
