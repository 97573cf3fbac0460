/**
 * @file Ctrl-C on a terminal, early, in the middle and late: the command ends within its unit of work, nothing is drawn over
 * what it says, what it says is true, and the same command does it.
 */
import { mkdtempSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type OnTerminal, onTerminal } from '../support/terminal.ts';

const dir = mkdtempSync(join(tmpdir(), 'unfold-ctrl-c-'));
const model = ['--model', 'checkpoints/novels-4l', '--dataset', 'novels'];
const coder = join(dir, 'coder');
const COMMANDS: Readonly<Record<string, string[]>> = {
  harvest: [
    ...['harvest', ...model, '--hooks', 'blocks.2.hook_resid_pre', '--max-tokens', '80000'],
    ...['--shard-rows', '10000', '--out', join(dir, 'shards')],
  ],
  train: [
    ...[
      'train',
      ...model,
      '--hook-name',
      'blocks.2.hook_resid_pre',
      '--max-tokens',
      '60000',
      '--d-sae',
      '256',
      '--k',
      '8',
    ],
    ...['--training-tokens', '100000', '--train-batch-size-tokens', '512', '--out', coder],
  ],
  evaluate: [
    'evaluate',
    '--coder',
    coder,
    ...model,
    '--max-tokens',
    '20000',
    '--out',
    join(dir, 'evaluation.json'),
  ],
  finetune: [
    'finetune',
    '--coder',
    coder,
    ...model,
    '--training-tokens',
    '16000',
    '--eval-tokens',
    '0',
    '--out',
    join(dir, 'tuned'),
  ],
};
const SAYS: Readonly<Record<string, string>> = {
  harvest: 'finished shards are kept, and the same command makes the others',
  train: 'the same command goes on where it was',
  evaluate: 'the same command begins again from the start',
  finetune: 'the same command goes on where it was',
};

/** Longer than any unit of work here takes, also on a machine with other work. */
const UNIT = 10;

beforeAll(() => {
  process.env.FORCE_COLOR = '1';
});
afterAll(async () => {
  delete process.env.FORCE_COLOR;
  await rm(dir, { recursive: true });
});

/** Presses Ctrl-C when the screen shows `moment`, and holds the end against what it must be. */
async function interrupted(terminal: OnTerminal, moment: string | RegExp, says: string): Promise<void> {
  await terminal.until(moment);
  terminal.type('\x03');
  const { code, seconds } = await terminal.ended;
  const screen = terminal.screen();
  expect(code, screen).toBe(130);
  expect(seconds).toBeLessThan(UNIT);
  const message = screen.indexOf('SIGINT: stopping');
  const [before, after] = [screen.slice(0, message), screen.slice(message)];
  expect(stripVTControlCharacters(before)).toMatch(/\n$/);
  expect(after).not.toMatch(/[█░]/);
  for (const moving of ['\x1b[?', '\x1b[K', '\x1b[2K', '\x1b[1A']) expect(after).not.toContain(moving);
  expect(after).toMatch(new RegExp(`\nstopped; ${says}\r\n$`));
  const hidden = screen.lastIndexOf('\x1b[?25l');
  expect(hidden < 0 || screen.lastIndexOf('\x1b[?25h') > hidden).toBe(true);
  expect(screen.lastIndexOf('\x1b[?7l')).toBeLessThanOrEqual(screen.lastIndexOf('\x1b[?7h'));
}

describe.each(['harvest', 'train', 'evaluate', 'finetune'])('%s', (name) => {
  const [line, says] = [COMMANDS[name]!, SAYS[name]!];

  test.each([
    ['before it begins', 'backend native'],
    ['when it has begun', new RegExp(`${name} .* [1-9]\\d?% `)],
    ['late', new RegExp(`${name} .* [5-9]\\d% `)],
  ])('stopped %s', async (_when, moment) => {
    await interrupted(onTerminal(line), moment, says);
  });

  test('does afterwards what it said', async () => {
    const kept =
      name === 'harvest' ? readdirSync(join(dir, 'shards')).filter((file) => file.endsWith('.arrow')) : [];
    const terminal = onTerminal(line);
    expect(await terminal.ended).toMatchObject({ code: 0 });
    const first = /(\d+)% /.exec(terminal.screen())?.[1];
    if (name === 'harvest') expect(terminal.screen()).toContain(`check`);
    if (name === 'harvest') expect(kept.length).toBeGreaterThan(0);
    if (name === 'train' || name === 'finetune') expect(Number(first)).toBeGreaterThan(10);
    if (name === 'evaluate') expect(Number(first)).toBe(0);
  });
});

test.each([
  [
    'a toy model',
    ['synth', '--toy', '--out', join(dir, 'toy')],
    'toy models',
    'the same command begins again from the start',
  ],
  [
    'a benchmark that pushes features apart',
    ['synth', 'pipelines/synth-1k.yaml', '--out', join(dir, 'synth')],
    /push features apart.* [1-9]\d?% /,
    'the same command goes on where it was',
  ],
  [
    'a text that is generated',
    [
      'generate',
      '--model',
      'checkpoints/novels-4l',
      '--prompt',
      'It was',
      '--max-new-tokens',
      '250',
      '--no-kv-cache',
    ],
    /It was\s.{20}/s,
    'the same command begins again from the start',
  ],
  [
    'a pipeline that is made again from a stage on',
    ['run', 'quickstart', '--out', join(dir, 'run'), '--from', 'harvest'],
    /harvest .* [1-9]\d?% /,
    'without --from the same command goes on where it was; with it, harvest and what depends on it are made again',
  ],
  [
    'a pipeline',
    ['run', 'quickstart', '--out', join(dir, 'run')],
    /harvest .* [1-9]\d?% /,
    'the same command goes on where it was',
  ],
])('%s', async (_what, line, moment, says) => {
  await interrupted(onTerminal(line as string[]), moment, says);
});

test('an error under a bar ends the command as well, with the bar as it was', async () => {
  const out = ['--max-tokens', '60000', '--shard-rows', '60000', '--out', join(dir, 'no-room')];
  const line = ['harvest', ...model, '--hooks', 'blocks.2.hook_resid_pre', ...out];
  const terminal = onTerminal(line, 'ulimit -f 4000');
  expect(await terminal.ended).toMatchObject({ code: 1 });
  const [, after = ''] = terminal.screen().split('error');
  expect(terminal.screen()).toMatch(/harvest .* [1-9]\d?% /);
  expect(after).toContain('EFBIG');
  expect(after).not.toMatch(/[█░]/);
});
