/**
 * @file Job `probe`: does nothing, for as long as you like, to try out a queue, its workers and their folders. Like real
 * work it locks its folder, checkpoints, resumes and leaves a manifest, and it can be told to keep the processor busy and
 * to fail in the ways that work fails. It reports a loss that falls, so that displays have something to show.
 *
 * The folder: `probe.json` (settings, result; written last, once), `starts.log` (a JSON line for each start, resumption,
 * end and skip, with process and host), `step.json` while it is under way.
 */
import { appendFile, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { StageContext } from '../../context.ts';
import { UnfoldError } from '../../errors.ts';
import { exists, hashOf, readJson, writeJson } from '../../files.ts';
import { makeFolder } from '../../folders.ts';
import { lockDirectory } from '../../lock.ts';
import { type JobKind, type JobRequest, known, requestOf } from './kind.ts';
import { jobFolder } from './place.ts';

const schema = z.strictObject({
  /** Seconds of work in all. */
  seconds: z.number().min(0).max(86_400).default(5),
  /** Parts of the work, with a checkpoint after each; unless given one for each second. */
  steps: z.int().min(1).max(1_000_000).optional(),
  /** Compute without giving the event loop back until a step is done. */
  busy: z.boolean().default(false),
  /** Tokens that it says it has seen, for the rate. */
  tokens: z.int().min(1).optional(),
  /**
   * After half of the steps: `crash` kills its process, `error` throws as a fault of ours would, `user` as one that the
   * user can mend; `leak` leaves tensors behind and goes on.
   */
  fail: z.enum(['crash', 'error', 'user', 'leak']).optional(),
  /** So many starts fail, and later ones do not; unless given all. */
  failures: z.int().min(1).optional(),
  /** A line for the log, and part of the result. */
  text: z.string().max(1000).default(''),
});

/** See the schema. */
export type ProbeSettings = z.output<typeof schema>;

/** probe.json. */
export interface ProbeFile {
  kind: 'unfold.probe/1';
  settings: ProbeSettings;
  /** How often it ran to its end; more than once would be a fault of the queue. */
  completed: number;
  /** How often it was begun, until it was done. */
  starts: number;
  /** SHA-256 of the settings: stands for the bytes that work makes. */
  result: string;
}

export const probe: JobKind<ProbeSettings> = {
  stage: 'probe',
  schema,
  visible: () => [],
  finished: async (settings, out) => (await finishedProbe(settings, out)) !== undefined,
  async run(settings, out, context) {
    await makeFolder(out);
    const lock = await lockDirectory(out, context);
    try {
      const finished = await finishedProbe(settings, out);
      if (finished) {
        await logEvent(out, 'skip');
        return { ...summary(finished), skipped: true };
      }
      return { ...summary(await work(settings, out, context)), skipped: false };
    } finally {
      await lock.release();
    }
  },
};

/** The job that `unfold enqueue probe` with these flags is. @throws UnfoldError `bad-setting` */
export async function probeRequest(options: Record<string, unknown>): Promise<JobRequest> {
  return requestOf(probe as JobKind, known(schema, options), jobFolder(options.out, 'probe'));
}

async function finishedProbe(settings: ProbeSettings, out: string): Promise<ProbeFile | undefined> {
  const path = join(out, 'probe.json');
  if (!(await exists(path))) return undefined;
  const file = (await readJson(path)) as ProbeFile;
  if (file.result === hashOf(settings)) return file;
  throw new UnfoldError('settings-differ', {
    where: path,
    expected: 'the probe that was asked for',
    found: 'another one, with other settings',
    todo: 'give another --out, or remove that folder',
  });
}

async function work(settings: ProbeSettings, out: string, context: StageContext): Promise<ProbeFile> {
  const { seconds, busy, tokens, text } = settings;
  const steps = settings.steps ?? Math.max(1, Math.round(seconds));
  const from = await startStep(out, hashOf(settings));
  await logEvent(out, from > 0 ? 'resume' : 'start', { step: from });
  const starts = (await countEvents(out, 'start')) + (await countEvents(out, 'resume'));
  if (text !== '') context.note(text);
  const size = (tokens ?? steps) / steps;
  const bar = context.bar('probe', size * steps, tokens ? 'tokens' : 'steps', size * from);
  for (let step = from; step < steps; step++) {
    context.signal.throwIfAborted();
    if (step === Math.floor(steps / 2)) await failAsAsked(settings, starts);
    await spend((1000 * seconds) / steps, busy, context.signal);
    if (step < steps - 1) await writeJson(join(out, 'step.json'), { step: step + 1, of: hashOf(settings) });
    bar.update(size * (step + 1), undefined, { step: step + 1, loss: 1 / (step + 1) });
  }
  bar.finish();
  return finish(settings, out, starts);
}

async function finish(settings: ProbeSettings, out: string, starts: number): Promise<ProbeFile> {
  await logEvent(out, 'end');
  const completed = await countEvents(out, 'end');
  const file: ProbeFile = { kind: 'unfold.probe/1', settings, completed, starts, result: hashOf(settings) };
  await writeJson(join(out, 'probe.json'), file);
  await rm(join(out, 'step.json'), { force: true });
  return file;
}

/** The first step that is not done. */
async function startStep(out: string, of: string): Promise<number> {
  const path = join(out, 'step.json');
  if (!(await exists(path))) return 0;
  const state = (await readJson(path)) as { step: number; of: string };
  return state.of === of ? state.step : 0;
}

async function spend(milliseconds: number, busy: boolean, signal: AbortSignal): Promise<void> {
  if (!busy) {
    if (milliseconds > 0)
      await sleep(milliseconds, undefined, { signal }).catch(() => signal.throwIfAborted());
    return;
  }
  for (const end = performance.now() + milliseconds; performance.now() < end; );
  await setImmediate();
}

async function failAsAsked({ fail, failures }: ProbeSettings, starts: number): Promise<void> {
  if (fail === undefined || starts > (failures ?? Number.POSITIVE_INFINITY)) return;
  if (fail === 'crash') process.kill(process.pid, 'SIGKILL');
  if (fail === 'error') throw new Error('the probe was told to fail');
  if (fail === 'leak') return leak();
  throw new UnfoldError('bad-setting', {
    where: 'a probe',
    expected: 'nothing: it was told to fail as on a wrong setting',
    found: '--fail user',
    todo: 'queue it again without --fail',
  });
}

async function leak(): Promise<void> {
  const { tensor1d } = await import('../../tensor/tf.ts');
  for (let i = 0; i < 8; i++) tensor1d(new Float32Array(1024));
}

type ProbeEvent = 'start' | 'resume' | 'end' | 'skip';

async function logEvent(out: string, event: ProbeEvent, more: Record<string, unknown> = {}): Promise<void> {
  const line = { event, ...more, pid: process.pid, host: hostname(), at: new Date().toISOString() };
  await appendFile(join(out, 'starts.log'), `${JSON.stringify(line)}\n`);
}

async function countEvents(out: string, event: ProbeEvent): Promise<number> {
  const text = await readFile(join(out, 'starts.log'), 'utf8');
  return text.split('\n').filter((line) => line.startsWith(`{"event":"${event}"`)).length;
}

function summary({ completed, starts, result, settings }: ProbeFile): Record<string, unknown> {
  return {
    path: 'probe.json',
    completed,
    starts,
    result,
    ...(settings.text !== '' && { text: settings.text }),
  };
}
