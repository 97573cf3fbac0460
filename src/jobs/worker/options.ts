/** @file How a worker is to work, and what it was in the end. */

import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { UnfoldError } from '../../errors.ts';
import { makeFolder } from '../../folders.ts';

/** How a worker works. */
export interface WorkerOptions {
  /** Redis's URL; as openQueue unless given. */
  queue?: string;
  /** Jobs at a time; 1 unless given, since one job uses all cores. */
  concurrency?: number;
  /** Stages that it does; all unless given. */
  stages?: readonly string[];
  /** What it offers to jobs that ask for it: `gpu`. */
  tags?: readonly string[];
  /** Milliseconds after which a job counts as lost when its worker is not heard of; 60,000 unless given. */
  lockMilliseconds?: number;
  /** Seconds that jobs in hand have for a checkpoint when the worker is stopped; 60 unless given. */
  deadlineSeconds?: number;
  /** Folder for copies of what lies on an object store; one below the system's for temporary files unless given. */
  scratch?: string;
  /** Places below which it writes: folders and s3:// URLs. Unless given, the folder that the process is in. */
  roots?: readonly string[];
  /** Where tensors live; `auto` unless given. */
  backend?: string;
  /** Bytes of a child above which it does no further job; a quarter of the machine's memory unless given. */
  memoryLimit?: number;
  /** Ends when nothing is left to do. */
  drain?: boolean;
  /** Ends after so many jobs. */
  maxJobs?: number;
}

/** All filled in. */
export type WorkerSettings = Required<Omit<WorkerOptions, 'queue' | 'stages' | 'maxJobs'>> &
  Pick<WorkerOptions, 'queue' | 'stages' | 'maxJobs'>;

const names = z.array(z.string().regex(/^[\w-]{1,30}$/, 'letters, digits, - and _'));

const schema = z.strictObject({
  queue: z.string().optional(),
  concurrency: z.int().min(1).max(256).default(1),
  stages: names.min(1).optional(),
  tags: names.max(32).default([]),
  lockMilliseconds: z.number().min(500).max(86_400_000).default(60_000),
  deadlineSeconds: z.number().min(0).max(86_400).default(60),
  scratch: z
    .string()
    .min(1)
    .default(() => join(tmpdir(), 'unfold-scratch')),
  roots: z
    .array(z.string().min(1))
    .min(1)
    .default(() => [process.cwd()]),
  backend: z.string().default('auto'),
  memoryLimit: z
    .number()
    .min(1)
    .default(() => totalmem() / 4),
  drain: z.boolean().default(false),
  maxJobs: z.int().min(1).optional(),
});

/** @throws UnfoldError `bad-setting` */
export function workerSettings(options: WorkerOptions): WorkerSettings {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  throw new UnfoldError('bad-setting', {
    where: 'the settings of a worker',
    expected: 'numbers and names as unfold worker --help has them',
    found: z.prettifyError(parsed.error).replaceAll('\n', ' '),
    todo: 'correct them',
  });
}

/** A worker's life in numbers. */
export interface WorkerSummary {
  id: string;
  queue: string;
  backend: string;
  /** Jobs that were begun, and what became of them; the rest was handed back. */
  begun: number;
  completed: number;
  failed: number;
  /** Attempts that failed and are tried again. */
  retried: number;
  handed_back: number;
  seconds: number;
}

/** @throws UnfoldError `bad-setting` */
export async function makeScratch(dir: string): Promise<void> {
  try {
    await makeFolder(dir);
    await access(dir, constants.W_OK);
  } catch (cause) {
    throw new UnfoldError('bad-setting', {
      where: `--scratch ${dir}`,
      expected: 'a folder that can be written to',
      found: (cause as Error).message,
      todo: 'name another with --scratch',
      cause,
    });
  }
}
