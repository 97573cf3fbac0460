/** @file Names of stages as they are typed, `--stages harvest,train`: a typo would be a worker that never does anything. */
import { nearest, UnfoldError } from '../errors.ts';
import { kindNames } from '../jobs/kinds/index.ts';
import { PIPELINE_STAGES } from '../jobs/names.ts';

/** Every stage that a job can have. */
export const stageNames: readonly string[] = [...new Set([...PIPELINE_STAGES, ...kindNames])];

/**
 * The names, if all are stages.
 * @param where the option they were given with
 * @throws UnfoldError `unknown-stage`
 */
export function knownStages(names: readonly string[], where: string): readonly string[] {
  const wrong = names.find((name) => !stageNames.includes(name));
  if (wrong === undefined && names.length > 0) return names;
  throw new UnfoldError('unknown-stage', {
    where: `${where} ${names.join(',')}`,
    expected: `one of ${stageNames.join(', ')}`,
    found: wrong ?? 'no name',
    todo:
      wrong === undefined
        ? `leave out ${where} for all`
        : `did you mean ${nearest(wrong, stageNames, 1)[0]}?`,
  });
}
