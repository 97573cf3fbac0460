/**
 * @file Settings of a pipeline that another one leaves without effect: refused where they stand. A file is written for
 * one choice; who overrides the choice with --set need not take the file's other lines out.
 */
import { UnfoldError } from '../errors.ts';
import { isSweep } from '../train/sweep-file.ts';
import { plainValue } from '../yaml.ts';
import { lookUp, placeOf, type YamlSource } from './yaml.ts';

/** A setting, the one that leaves it idle, and when that one does. */
interface Idle {
  setting: string;
  because: string;
  /** @param value of `because` as it is written */
  isIdle(value: unknown): boolean;
  words: string;
}

const isOff = (value: unknown) => value === false;
const isSweepOf = (value: unknown) =>
  value !== null && typeof value === 'object' && isSweep(value as Record<string, unknown>);

const IDLE: readonly Idle[] = [
  {
    setting: 'harvest.shard_rows',
    because: 'harvest.source',
    isIdle: (value) => value === 'live',
    words: 'source: live, which writes no shards',
  },
  ...['text', 'evaluate.text', 'summary.text'].map((text) => ({
    setting: `${text}.seed`,
    because: `${text}.shuffle`,
    isIdle: isOff,
    words: 'shuffle: false, which draws nothing',
  })),
  ...['features', 'examples', 'text'].map((name) => ({
    setting: `summary.${name}`,
    because: 'train',
    isIdle: isSweepOf,
    words: 'a sweep, whose summary compares coders and shows no latents',
  })),
];

/** @throws UnfoldError `bad-pipeline` that names file, line, the setting and what leaves it without effect */
export function refuseIdle(source: YamlSource): void {
  const file = plainValue(source);
  const written = (name: string) => lookUp(file, name.split('.'));
  const isOverride = (name: string) => source.overridden.has(name);
  const idle = IDLE.find(
    ({ setting, because, isIdle }) =>
      written(setting) !== undefined &&
      isIdle(written(because)) &&
      (isOverride(setting) || !isOverride(because)),
  );
  if (!idle) return;
  throw new UnfoldError('bad-pipeline', {
    where: `${placeOf(source, idle.setting.split('.'))}: ${idle.setting}`,
    expected: 'settings that have an effect there',
    found: `${idle.setting} beside ${idle.words}`,
    todo: `leave ${idle.setting} out`,
  });
}
