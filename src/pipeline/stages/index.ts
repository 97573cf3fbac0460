/** @file All stages by name: what a pipeline is made of, and what a worker looks a message's stage up in. */
import type { Stage } from '../stage.ts';
import { corpusStage } from './corpus.ts';
import { evaluateStage } from './evaluate.ts';
import { harvestStage } from './harvest.ts';
import { summaryStage } from './summary.ts';
import { trainStage } from './train.ts';

/** In the order of the flow. */
export const stages: Readonly<Record<string, Stage>> = Object.fromEntries(
  [corpusStage, harvestStage, trainStage, evaluateStage, summaryStage].map((stage) => [
    stage.name,
    stage as Stage,
  ]),
);

/** The stage of that name, if there is one: names come from outside (`constructor` is none). */
export function stageNamed(name: string): Stage | undefined {
  return Object.hasOwn(stages, name) ? stages[name] : undefined;
}
