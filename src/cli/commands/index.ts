/**
 * @file The table of commands, in the order of the flow. A command's heavy imports happen inside its `run`, so this
 * table costs milliseconds.
 */
import type { CommandSpec } from '../command.ts';
import backend from './backend.ts';
import cache from './cache.ts';
import copy from './copy.ts';
import doctor from './doctor.ts';
import encode from './encode.ts';
import enqueue from './enqueue.ts';
import evaluate from './evaluate.ts';
import exportCommand from './export.ts';
import finetune from './finetune.ts';
import generate from './generate.ts';
import harvest from './harvest.ts';
import importCommand from './import.ts';
import info from './info.ts';
import jobs from './jobs.ts';
import queue from './queue.ts';
import run from './run.ts';
import serve from './serve.ts';
import synth from './synth.ts';
import tokenise from './tokenise.ts';
import train from './train.ts';
import verify from './verify.ts';
import worker from './worker.ts';

/** All commands of `unfold`. One import and one entry each. */
export const commands: readonly CommandSpec[] = [
  tokenise,
  cache,
  generate,
  harvest,
  train,
  finetune,
  evaluate,
  encode,
  importCommand,
  exportCommand,
  info,
  verify,
  synth,
  run,
  enqueue,
  worker,
  jobs,
  queue,
  serve,
  copy,
  backend,
  doctor,
];
