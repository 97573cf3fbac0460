/**
 * @file The table of commands, in the order of the flow. A command's heavy imports happen inside its `run`, so this
 * table costs milliseconds.
 */
import type { CommandSpec } from '../command.ts';
import evaluate from './evaluate.ts';
import harvest from './harvest.ts';
import run from './run.ts';

/** All commands of `unfold`. One import and one entry each. */
export const commands: readonly CommandSpec[] = [harvest, evaluate, run];
