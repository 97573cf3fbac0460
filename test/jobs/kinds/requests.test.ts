/** @file Flags that cannot become a job are refused when they are queued, with what to do instead. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { assertQueueable } from '../../../src/cli/enqueue-names.ts';
import { notThereYet } from '../../../src/jobs/kinds/direct.ts';
import { enqueueCommands } from '../../../src/jobs/kinds/from-command.ts';
import { HOOK, MODEL, requestFor } from './support.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'unfold-requests-'));
  await writeFile(join(dir, 'sweep.yaml'), 'k: 4\ncoders: {a: {}, b: {kk: 3}}\n');
});
afterAll(() => rm(dir, { recursive: true }));

const refused: [what: string, argv: string, lesson: string | RegExp][] = [
  ['a setting that training has not', 'train --shards s --set kk=3 --out o', 'perhaps k'],
  ['settings that contradict each other', 'train --shards s --k 20 --d-sae 10 --out o', 'at most d_sae = 10'],
  ['a sweep with a wrong coder', 'train --shards s --sweep DIR/sweep.yaml --out o', 'kk'],
  ['neither shards nor a model', 'train --k 3 --out o', 'either shards'],
  ['shards and a model', `train --shards s --model ${MODEL} --dataset novels --out o`, 'either shards'],
  ['a run that must not go on', 'train --shards s --resume never --out o', 'may go on'],
  [
    'a dataset that is not here',
    `harvest --model ${MODEL} --dataset novls --hooks ${HOOK} --out o`,
    'novels',
  ],
  ['no hooks', `harvest --model ${MODEL} --dataset novels --out o`, 'hook_names'],
  ['shards on a store', 'train --shards s3://bucket/shards --out o', 'unfold copy'],
  ['an evaluation that nobody would see', 'evaluate --coder c --shards s', '--out'],
  ['files in two folders', 'evaluate --coder c --shards s --per-latent x/l --out o/e.json', 'one folder'],
  ['a file in no folder of a store', 'encode --coder c --input i --out s3://bucket/l', 'a whole bucket'],
  ['a benchmark without a model', 'synth DIR/sweep.yaml --out o', /model|preset/],
  ['a probe of negative length', 'probe --seconds -1 --out o', 'seconds'],
];

it.each(refused)('%s: %s', async (_what, argv, lesson) => {
  const words = argv.replaceAll('DIR', dir).split(' ');
  const error = await requestFor(words).catch((cause: unknown) => cause as Error);
  expect(error).toMatchObject({ name: 'UnfoldError' });
  expect((error as Error).message).toMatch(lesson);
});

it('what a job reads may still be made: the path that is missing is named, not refused', async () => {
  const request = await requestFor(`train --shards ${join(dir, 'later')} --k 3 --out o`.split(' '));
  expect(await notThereYet(request)).toBe(join(dir, 'later'));
  const here = await requestFor(`train --shards ${dir} --k 3 --out o`.split(' '));
  expect(await notThereYet(here)).toBeUndefined();
});

it('a stage that there is not is refused with the pipelines and commands that there are', () => {
  for (const name of ['dictionary', 'graph', 'trian', 'quikstart'])
    expect(() => assertQueueable(name)).toThrow(/quickstart.*harvest, train, finetune/);
  expect(() => assertQueueable('trian')).toThrow('did you mean train?');
  for (const name of ['quickstart', 'pipelines/quickstart.yaml', 'missing.yaml'])
    expect(() => assertQueueable(name)).not.toThrow();
});

it('reads relative paths from where it was queued, looks for names, and leaves ids of a hub alone', async () => {
  const request = await requestFor(
    `harvest --model openai-community/gpt2 --dataset novels --hooks ${HOOK} --out runs/x`.split(' '),
  );
  expect(request).toMatchObject({
    settings: {
      model: 'openai-community/gpt2',
      text: { dataset: join(process.cwd(), 'datasets/novels') },
    },
    out: join(process.cwd(), 'runs/x'),
  });
  const bundled = await requestFor(
    `harvest --model checkpoints/novels-4l --dataset datasets/*/*.txt --hooks ${HOOK} --out runs/x`.split(
      ' ',
    ),
  );
  expect(bundled).toMatchObject({
    settings: { model: MODEL, text: { dataset: join(process.cwd(), 'datasets/*/*.txt') } },
  });
});

it('a file on a store is a job in that file’s folder', async () => {
  const argv =
    'evaluate --coder c --shards s --per-latent s3://bucket/r/l.st --out s3://bucket/r/e.json'.split(' ');
  const request = await requestFor(argv);
  expect(request).toMatchObject({ out: 's3://bucket/r', settings: { file: 'e.json', per_latent: 'l.st' } });
});

it('every command below unfold enqueue has examples of its own, which leave files', () => {
  for (const { name, examples } of enqueueCommands({ configure() {}, async act() {} })) {
    expect(examples.some(([line]) => line.startsWith(`unfold enqueue ${name} `))).toBe(true);
    for (const [line] of examples) expect(line).toContain(' --out ');
  }
});
