/** @file Values of options: every command's, and what stands in the environment. */
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { buildProgram } from '../../src/cli/main.ts';
import * as values from '../../src/cli/values.ts';
import { numberFromEnvironment, numberOf } from '../../src/number-text.ts';
import { checkEnvironment } from '../../src/tensor/environment.ts';

const NOTHING_OR_ODD = [
  '',
  ' ',
  '\t',
  '1e999',
  '0x10',
  '0b1',
  'NaN',
  'Infinity',
  '5,',
  '1__0',
  '_1',
  '1_',
  '--5',
];

test('text is a number where a person would call it one', () => {
  for (const text of NOTHING_OR_ODD) expect(numberOf(text), JSON.stringify(text)).toBeUndefined();
  const said: Record<string, number> = {
    '+5': 5,
    '1_000': 1000,
    ' 7 ': 7,
    '1e3': 1000,
    '.5': 0.5,
    '-0.25': -0.25,
    '007': 7,
  };
  for (const [text, value] of Object.entries(said)) expect(numberOf(text), text).toBe(value);
});

test('no parser of numbers takes an odd one, and none makes 0 of nothing', () => {
  const { number, integer, natural, positive, port, milliseconds, ids, seeds, probabilities, numberOrShare } =
    values;
  for (const parse of [
    number,
    integer,
    natural,
    positive,
    port,
    milliseconds,
    ids,
    seeds,
    probabilities,
    numberOrShare,
  ]) {
    for (const text of NOTHING_OR_ODD)
      expect(() => parse(text), `${parse} ${JSON.stringify(text)}`).toThrow(/expected/);
  }
  for (const parse of [integer, natural, positive, port, ids, seeds])
    expect(() => parse('1.5')).toThrow(/whole/);
  expect(() => positive('0')).toThrow('from 1 on');
  expect(() => natural(String(2 ** 53))).toThrow();
  expect(() => port('65536')).toThrow('from 0 to 65535');
});

test('lists have something between all commas; slices and times are read whole', () => {
  expect(values.ids('50256, 198')).toEqual([50256, 198]);
  expect(() => values.ids('4095,')).toThrow(/between all commas/);
  expect(() => values.names('a,,b')).toThrow(/between all commas/);
  expect(() => values.probabilities('1,0')).toThrow(/above 0/);
  expect(values.slice('1:-1:2')).toEqual([1, -1, 2]);
  expect(values.slice(':')).toEqual([null, null]);
  expect(() => values.slice('1')).toThrow(/start:stop/);
  expect(values.milliseconds('1.5h')).toBe(5_400_000);
  expect(values.milliseconds('90')).toBe(90_000);
  expect(() => values.milliseconds('m')).toThrow(/time/);
  expect(() => values.milliseconds('1e9d')).toThrow(/time/);
  expect(values.numberOrShare('20%')).toBe('20%');
  expect(values.collectSettings('lr=1e-3', {})).toEqual({ lr: 1e-3 });
  expect(() => values.collectSettings('lr=')).toThrow(/name=value/);
});

/** Commands with their subcommands. */
const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];

test('no option of any command takes an empty value, unless it means something', () => {
  const may = ['--text', '--prompt', '--reason'];
  let looked = 0;
  for (const command of all(buildProgram())) {
    for (const option of command.options) {
      if ((!option.required && !option.optional) || may.includes(option.long ?? '')) continue;
      const name = `${command.name()} ${option.long}`;
      for (const empty of option.long === '--document-separator' ? [''] : ['', ' '])
        expect(() => option.parseArg!(empty, undefined), name).toThrow();
      looked++;
    }
    for (const argument of command.registeredArguments)
      expect(() => argument.parseArg!('', undefined), `${command.name()} ${argument.name()}`).toThrow();
  }
  expect(looked).toBeGreaterThan(150);
});

test('flags of settings are read by what their argument is called; a word of a grid stays', () => {
  const program = buildProgram();
  const train = program.commands.find((command) => command.name() === 'train')!;
  const read = (flag: string, value: string) =>
    train.options.find(({ long }) => long === flag)!.parseArg!(value, undefined);
  expect(read('--k', '2.5')).toBe(2.5);
  expect(read('--k', '{active}')).toBe('{active}');
  expect(read('--target-l0', 'null')).toBeNull();
  expect(read('--seed', '0')).toBe(0);
  expect(() => read('--d-sae', '0')).toThrow();
  expect(() => read('--training-tokens', '0x10')).toThrow();
  expect(() => read('--resume', 'perhaps')).toThrow(/auto, never/);
});

test('numbers and choices of the environment are refused by the name of the variable', () => {
  const range = { least: 0 };
  expect(numberFromEnvironment('UNFOLD_POOL_MB', range, { UNFOLD_POOL_MB: '1_024' })).toBe(1024);
  expect(numberFromEnvironment('UNFOLD_POOL_MB', range, { UNFOLD_POOL_MB: '' })).toBeUndefined();
  const refused: [string, string][] = [
    ['UNFOLD_THREADS', '0'],
    ['UNFOLD_THREADS', 'two'],
    ['UNFOLD_THREADS', '0x2'],
    ['UNFOLD_POOL_MB', '256MB'],
    ['UNFOLD_BLAS', 'mkl'],
    ['UNFOLD_SCREEN', 'on'],
    ['UNFOLD_BF16', 'AMX'],
  ];
  for (const [name, value] of refused) expect(() => checkEnvironment({ [name]: value }), name).toThrow(name);
  expect(() => checkEnvironment({ UNFOLD_THREADS: '', UNFOLD_BLAS: 'dnnl' })).not.toThrow();
});
