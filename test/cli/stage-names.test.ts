/** @file Names of stages as they are typed. */
import { expect, test } from 'vitest';
import { knownStages, stageNames } from '../../src/cli/stage-names.ts';
import { kindNames } from '../../src/jobs/kinds/index.ts';
import { PIPELINE_STAGES } from '../../src/jobs/names.ts';
import { stages } from '../../src/pipeline/stages/index.ts';

test('all stages have a name that can be typed', () => {
  expect(PIPELINE_STAGES).toEqual([...Object.keys(stages), 'pipeline']);
  expect(knownStages(stageNames, '--stages')).toEqual(expect.arrayContaining([...kindNames]));
});

test('a worker for a stage that does not exist is refused, with the nearest that does', () => {
  expect(() => knownStages(['harvest', 'trian'], '--stages')).toThrow(/did you mean train/);
  expect(() => knownStages([], '--stages')).toThrow(/leave out --stages/);
});
