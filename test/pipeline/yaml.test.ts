import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { UnfoldError } from '../../src/errors.ts';
import { applySetting, parseYaml, validateYaml } from '../../src/pipeline/yaml.ts';

const schema = z.strictObject({
  name: z.string(),
  train: z
    .strictObject({
      k: z.int().min(1).default(16),
      lr: z.number().default(3e-4),
      architecture: z.enum(['topk', 'standard']).default('topk'),
      slice: z.array(z.number().nullable()).optional(),
    })
    .prefault({}),
});

function lessonOf(text: string, ...settings: string[]) {
  const source = parseYaml(text, 'p.yaml');
  try {
    for (const setting of settings) applySetting(source, setting);
    validateYaml(source, schema);
  } catch (error) {
    return (error as UnfoldError).lesson;
  }
  throw new Error('was accepted');
}

describe('a pipeline file', () => {
  it('is read with defaults filled in', () => {
    expect(validateYaml(parseYaml('name: a', 'p.yaml'), schema)).toEqual({
      name: 'a',
      train: { k: 16, lr: 3e-4, architecture: 'topk' },
    });
  });

  it('is refused with line and column where it is not YAML', () => {
    expect(() => parseYaml('name: a\ntrain: {k: 3', 'p.yaml')).toThrow(/p\.yaml:2:\d+/);
  });

  it('is refused where it has an unknown setting, with the nearest known ones', () => {
    const lesson = lessonOf('name: a\ntrain:\n  k: 3\n  learning_rate: 1\n  kk: 1');
    expect(lesson.where).toBe('p.yaml:4:3: train.learning_rate');
    expect(lessonOf('name: a\ntrain:\n  kk: 1').todo).toMatch(/^did you mean "k"/);
  });

  it('is refused where a value has the wrong type, with what was expected and found', () => {
    expect(lessonOf('name: a\ntrain:\n  lr: fast')).toMatchObject({
      where: 'p.yaml:3:3: train.lr',
      expected: 'a value of type number',
      found: '"fast"',
    });
    expect(lessonOf('name: a\ntrain: {architecture: topkk}').expected).toBe('one of topk, standard');
    expect(lessonOf('name: a\ntrain: {slice: [1, two]}').where).toBe('p.yaml:2:20: train.slice.1');
  });

  it('is refused where something required is missing', () => {
    expect(lessonOf('train: {k: 1}')).toMatchObject({
      where: 'p.yaml:1:1: name',
      found: 'nothing (it is required)',
    });
  });

  it('yields to --set, also for sections it does not have', () => {
    const source = parseYaml('name: a', 'p.yaml');
    applySetting(source, 'train.lr=4e-3');
    applySetting(source, 'train.slice=[1, null]');
    expect(validateYaml(source, schema).train).toMatchObject({ lr: 4e-3, slice: [1, null] });
  });

  it('blames --set for what --set brought in', () => {
    expect(lessonOf('name: a', 'train.k=0').where).toBe('--set train.k: train.k');
    expect(lessonOf('name: a', 'train.kk=2').todo).toMatch(/"k"/);
    expect(lessonOf('name: a', 'nonsense').where).toBe('--set nonsense');
  });
});
