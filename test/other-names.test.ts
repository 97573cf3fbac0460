/** @file Names of other programs are answered by the name here, in settings, files and flags. */
import { expect, test } from 'vitest';
import { buildProgram } from '../src/cli/main.ts';
import { architectureNamed } from '../src/coders/registry.ts';
import { otherNameOf } from '../src/other-names.ts';
import { readPipeline } from '../src/pipeline/pipeline.ts';
import { parsePipeline } from '../src/pipeline/schema.ts';
import { resolveSettings, settingNames } from '../src/train/settings.ts';
import { parseYaml } from '../src/yaml.ts';

const todoOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    return (error as { lesson: { todo: string } }).lesson.todo;
  }
  return 'accepted';
};

test.each([
  ['learning_rate', /^write lr$/],
  ['top-k', /^write k$/],
  ['dict_size', /^write d_sae$/],
  ['expansion_factor', /^write d_sae, which is the expansion factor times the width/],
  ['batch_size', /^write train_batch_size_tokens$/],
  ['total_training_tokens', /^write training_tokens$/],
  ['hook_point', /^write hook_name$/],
  ['l1_coefficient', /belongs to .*standard/],
  ['jumprelu_bandwidth', /belongs to .*jumprelu/],
  ['lrr', /^perhaps lr/],
])('the setting %s of topk training', (name, message) => {
  expect(todoOf(() => resolveSettings({ [name]: 1 }, 8))).toMatch(message);
});

test('a name is given only where it can be written', () => {
  expect(otherNameOf('l1_coeff', settingNames('standard'))).toBe('l1_coefficient');
  expect(otherNameOf('l1_coeff', settingNames('topk'))).toBeUndefined();
  expect(otherNameOf('lr', settingNames('topk'))).toBeUndefined();
  expect(todoOf(() => architectureNamed('jump_relu', 'x'))).toBe('write jumprelu');
  expect(todoOf(() => architectureNamed('top_k', 'x'))).toBe('write topk');
});

test('pipelines: settings, and names of bundled ones', async () => {
  const text = `name: a\nmodel: m\ntext: {dataset: d}\nharvest: {hook_names: [h]}\ntrain: {learning_rate: 1}\nevaluate: {text: {dataset: d}}`;
  expect(todoOf(() => parsePipeline(parseYaml(text, 'p.yaml')))).toBe('write lr');
  await expect(readPipeline('quickstrat')).rejects.toThrow(/did you mean quickstart/);
  await expect(readPipeline('pipelines/no-such.yaml')).rejects.toThrow(/bundled pipeline/);
});

test.each([
  ['train --out o --learning-rate 1', /write --lr/],
  ['train --out o --dict-size 8', /write --d-sae/],
  ['harvest --out o --hook-points h', /write --hook-names/],
  ['evaluate --coder c --context-length 5', /write --context-size/],
])('flags: %s', async (line, message) => {
  const said: string[] = [];
  const program = buildProgram();
  for (const command of program.commands) command.configureOutput({ writeErr: (text) => said.push(text) });
  await expect(program.parseAsync(line.split(' '), { from: 'user' })).rejects.toThrow();
  expect(said.join('')).toMatch(message);
});
