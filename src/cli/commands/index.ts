/**
 * @file The table of commands, in the order of the flow. A command's heavy imports happen inside its `run`, so this
 * table costs milliseconds.
 */
import type { CommandSpec } from '../command.ts';

/** All commands of `unfold`. One import and one entry each. */
export const commands: readonly CommandSpec[] = [];
