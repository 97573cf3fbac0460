/**
 * @file What the values of options look like: one parser for each kind of value, for all commands. Each takes what it says
 * and refuses everything else with what is expected; an empty value (a shell variable that is not set) is none of them.
 */
import { type Command, InvalidArgumentError } from 'commander';
import { describeRange, type NumberRange, numberOf, numberWithin } from '../number-text.ts';

/** A parser of commander's: text to value. */
export type Parser<T> = (text: string) => T;

const refuse = (expected: string): never => {
  throw new InvalidArgumentError(expected);
};

/** A number within these bounds; `such as` is added to what is expected. */
export function numberIn(range: NumberRange = {}, example?: string): Parser<number> {
  return (text) =>
    numberWithin(text, range) ??
    refuse(`${describeRange(range)} is expected${example ? `, such as ${example}` : ''}`);
}

/** Any number. */
export const number = numberIn();
/** A whole number, negative ones included. */
export const integer = numberIn({ whole: true });
/** A whole number from 0 on: layers, seeds. */
export const natural = numberIn({ whole: true, least: 0 });
/** A whole number above 0: counts. */
export const positive = numberIn({ whole: true, least: 1 });
/** 0: any port that is free. */
export const port = numberIn({ whole: true, least: 0, most: 65_535 });

/** Items between commas, each read by `item`; a missing one, also behind the last comma, is refused. */
export function listOf<T>(item: Parser<T>, example: string): Parser<T[]> {
  return (text) =>
    text.split(',').map((part) => {
      if (part.trim() === '') refuse(`something between all commas is expected, such as ${example}`);
      return item(part.trim());
    });
}

/** Names between commas: `a,b`. */
export const names = listOf((name) => name, 'train,evaluate');
/** Token ids: `50256,198`. */
export const ids = listOf(numberIn({ whole: true, least: 0 }, '50256,198'), '50256,198');
/** Seeds: `1,2,3`. */
export const seeds = listOf(numberIn({ whole: true, least: 0 }, '1,2,3'), '1,2,3');
/** How often something happens, each above 0 and at most 1. */
export const probabilities = listOf(numberIn({ least: 0, above: true, most: 1 }, '1,0.1,0.01'), '1,0.1,0.01');

/** Python's slices: `1:` -> [1, null]; `:64` -> [null, 64]; `1:-1:2` -> [1, -1, 2]. */
export function slice(text: string): (number | null)[] {
  const parts = text.split(':');
  if (parts.length !== 2 && parts.length !== 3)
    refuse('start:stop or start:stop:step is expected, such as 1:');
  return parts.map((part) => (part.trim() === '' ? null : integer(part)));
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Milliseconds of a time such as 90, 90s, 10m, 8h, 1d or 2w; a number alone is one of seconds. */
export function milliseconds(text: string): number {
  const unit = /[smhdw]$/.exec(text.trim())?.[0];
  const value = numberWithin(unit ? text.trim().slice(0, -1) : text, { least: 0 });
  if (value === undefined || value * SECONDS[unit ?? 's']! > 1e9)
    return refuse('a time such as 90 (seconds), 10m, 8h or 1d is expected');
  return Math.round(1000 * value * SECONDS[unit ?? 's']!);
}

/** A number of steps, or a share of the run: `500`, `20%`. */
export function numberOrShare(text: string): number | string {
  const trimmed = text.trim();
  const share = /^\d+(\.\d+)?%$/.test(trimmed) ? trimmed : undefined;
  return (
    share ??
    numberWithin(trimmed, { whole: true, least: 0 }) ??
    refuse('a number of steps, or a share of the run such as 20%, is expected')
  );
}

/** A token between documents: `bos`, `eos`, an id, or `null` for none. */
export function sequenceToken(text: string): string | number | null {
  if (text === 'null') return null;
  if (text === 'bos' || text === 'eos') return text;
  return (
    numberWithin(text, { whole: true, least: 0 }) ?? refuse('bos, eos, a token’s id or null is expected')
  );
}

/** A string that ends something; it may be white space, such as a line end. */
export function separator(text: string): string {
  return text === '' ? refuse('at least one character is expected') : text;
}

/** Text that says something. */
export function text(value: string): string {
  if (value.trim() !== '') return value;
  return refuse('it is empty: a shell variable that is not set? Leave the option out, or give it a value');
}

/** For repeatable options. They have no default: one of a command would win over what is given to a command below it. */
export function collect(value: string, earlier: string[] = []): string[] {
  return [...earlier, text(value)];
}

/** A setting's value: numbers, true, false and null as such; anything else is text. */
export function settingValue(value: string): unknown {
  if (value === 'true' || value === 'false') return value === 'true';
  if (value === 'null') return null;
  return numberOf(value) ?? value;
}

/** Gathers `--set name=value`. */
export function collectSettings(
  assignment: string,
  before: Record<string, unknown> = {},
): Record<string, unknown> {
  const at = assignment.indexOf('=');
  const name = assignment.slice(0, Math.max(at, 0)).trim();
  if (name === '' || assignment.slice(at + 1).trim() === '')
    refuse('name=value is expected, such as adam_beta2=0.99');
  return { ...before, [name]: settingValue(assignment.slice(at + 1)) };
}

/** Options and arguments that mean something when they are empty. */
const MAY_BE_EMPTY = ['--text', '--prompt', '--reason'];

/** Lets no option and no argument of a command be empty, where its own parser does not see to it. */
export function refuseEmptyValues(command: Command): void {
  for (const option of command.options) {
    const takesValue = option.required || option.optional;
    if (!takesValue || option.parseArg || MAY_BE_EMPTY.includes(option.long ?? '')) continue;
    if (option.variadic) option.argParser(collect);
    else option.argParser(text);
  }
  for (const argument of command.registeredArguments) {
    if (argument.parseArg) continue;
    if (argument.variadic) argument.argParser(collect);
    else argument.argParser(text);
  }
}
