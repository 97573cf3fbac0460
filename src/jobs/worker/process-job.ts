/**
 * @file From a job that was taken to its end: the message checked, a child found, the outcome handed to BullMQ in its own
 * terms (a result, or one of the errors that it knows).
 */
import { DelayedError, UnrecoverableError, WaitingChildrenError, WaitingError } from 'bullmq';
import type { UnfoldError } from '../../errors.ts';
import type { JobMessage } from '../message.ts';
import type { JobFailure } from '../protocol.ts';
import type { QueueConnection } from '../redis/open.ts';
import type { Roots } from '../roots.ts';
import { cancelParts, cancelReason } from '../watch/cancel.ts';
import { cancelledBy } from './cancelled.ts';
import type { Child, ChildEnd } from './child.ts';
import type { Children } from './children.ts';
import { addParts } from './parts.ts';
import { readMessage } from './read-message.ts';
import type { Slot } from './slot.ts';
import { cancelVerdict, firstLine, judgeDeath, judgeFailure, type Verdict } from './verdict.ts';

/** What jobs of a worker share. */
export interface JobWorld {
  connection: QueueConnection;
  children: Children;
  scratch: string;
  roots: Roots;
  /** Milliseconds after which a job comes back whose files somebody else is at, the `n`th time. */
  pause(id: string): number;
  /** A child could not be started, or could again. */
  childStarted(error?: unknown): void;
}

/** Milliseconds until a job comes back whose lock was not renewed in time. */
const SOON = 1000;

/** Runs the job; returns its result, throws what tells BullMQ what to do with it. */
export async function processJob(slot: Slot, world: JobWorld): Promise<unknown> {
  const { job } = slot.taken;
  let message = await checked(slot, world);
  if (message.type === 'stage' && !message.part && (await awaitsParts(slot)))
    throw new WaitingChildrenError();
  for (;;) {
    const end = await runInChild(slot, message, world);
    if (end.type !== 'outcome') return settle(slot, verdictOn(end, slot), world);
    if (end.leaked_tensors > 0)
      slot.report.log(`${end.leaked_tensors} tensors were left behind; they went with their process`, 'warn');
    if (end.outcome.type === 'done') {
      const { result, skipped } = end.outcome;
      slot.end = { type: 'completed', text: skipped ? 'was done before' : 'done' };
      slot.report.log(slot.end.text);
      await slot.report.flush();
      return { ...result, ...(skipped && { skipped }) };
    }
    await shareOut(slot, end.outcome.parts, world);
    message = joined(message);
    await job.updateData(message);
    await slot.report.flush();
    if (await awaitsParts(slot)) throw new WaitingChildrenError();
  }
}

/** The message, if it is good and the job is wanted. */
async function checked(slot: Slot, world: JobWorld): Promise<JobMessage> {
  const { job } = slot.taken;
  let message: JobMessage;
  try {
    message = readMessage(job);
  } catch (error) {
    const { kind, lesson, message } = error as UnfoldError;
    const { cause: _, ...parts } = lesson;
    return settle(slot, { type: 'fail', message, failure: { kind, message, lesson: parts } }, world);
  }
  const request = await cancelledBy(world.connection, slot);
  return request ? settle(slot, cancelVerdict(cancelReason(request)), world) : message;
}

/** Makes the parts jobs, unless the job was cancelled while they were thought out, or meanwhile. */
async function shareOut(slot: Slot, parts: readonly JobMessage[], world: JobWorld): Promise<void> {
  const { job } = slot.taken;
  slot.report.log(`shared out in ${parts.length} parts`);
  await addParts(world.connection, job, parts);
  const request = await cancelledBy(world.connection, slot);
  if (!request) return;
  await cancelParts(world.connection, { queue: job.queueName, id: slot.id }, request);
  await settle(slot, cancelVerdict(cancelReason(request)), world);
}

/** True if parts of it are still to be done, and it was put aside until then. */
async function awaitsParts(slot: Slot): Promise<boolean> {
  const { job, token } = slot.taken;
  slot.released = true;
  if (await job.moveToWaitingChildren(token)) {
    slot.end = { type: 'waiting', text: 'waits for its parts' };
    return true;
  }
  slot.released = false;
  return false;
}

function joined(message: JobMessage): JobMessage {
  return message.type === 'stage' ? { ...message, phase: 'join' } : message;
}

async function runInChild(slot: Slot, message: JobMessage, world: JobWorld): Promise<ChildEnd> {
  const early: ChildEnd = {
    type: 'failure',
    failure: { kind: 'stopped', message: 'stopped before it began' },
  };
  if (slot.stop || slot.lapsed) return early;
  let child: Child;
  try {
    child = await world.children.take();
    world.childStarted();
  } catch (error) {
    world.childStarted(error);
    return {
      type: 'failure',
      failure: { kind: 'busy', message: `no process for it: ${(error as Error).message}` },
    };
  }
  if (slot.stop || slot.lapsed) {
    world.children.give(child, true);
    return early;
  }
  slot.report.child(child.pid);
  slot.assign(child);
  const { scratch, roots } = world;
  const end = await child.run({ id: slot.id, message, lease: slot.until, scratch, roots }, (news) =>
    news.type === 'progress' ? slot.report.progress(news.progress) : slot.report.log(news.text, news.level),
  );
  slot.assign(undefined);
  if (end.type === 'gone') for (const line of child.lines) slot.report.log(`  ${line}`, 'warn');
  const clean = end.type === 'outcome' && end.leaked_tensors === 0 && !slot.stop;
  world.children.give(child, clean);
  return end;
}

function verdictOn(end: Exclude<ChildEnd, { type: 'outcome' }>, slot: Slot): Verdict {
  return end.type === 'gone'
    ? judgeDeath(end.how, slot.stop, slot.lapsed)
    : judgeFailure(end.failure, slot.stop);
}

/** Does with the job what was judged. Always throws. */
async function settle(slot: Slot, verdict: Verdict, world: JobWorld): Promise<never> {
  const { job } = slot.taken;
  if (verdict.type === 'drop') {
    slot.end = { type: 'handed back', text: `dropped: ${verdict.message}` };
    throw new WaitingError();
  }
  if (verdict.type === 'hand-back' || verdict.type === 'later') return handBack(slot, verdict, world);
  const { failure, message } = verdict;
  slot.report.log(message, 'warn');
  slot.report.add({ failure: asProgress(failure) });
  await slot.report.flush();
  if (verdict.type === 'fail') {
    slot.end = { type: 'failed', text: `failed: ${firstLine(message)}` };
    throw new UnrecoverableError(message);
  }
  const last = job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
  slot.end = last
    ? { type: 'failed', text: `failed: ${firstLine(message)}` }
    : { type: 'retried', text: `failed, will be tried again: ${firstLine(message)}` };
  const error = new Error(message);
  if (failure.stack) error.stack = failure.stack;
  throw error;
}

async function handBack(
  slot: Slot,
  verdict: Extract<Verdict, { type: 'hand-back' | 'later' }>,
  world: JobWorld,
): Promise<never> {
  const { job, token } = slot.taken;
  const why = firstLine(verdict.message);
  slot.report.log(verdict.type === 'later' ? `put off: ${why}` : `handed back: ${why}`);
  await slot.report.flush();
  slot.released = true;
  const pause = verdict.type === 'hand-back' ? 0 : verdict.soon ? SOON : world.pause(slot.id);
  const what = pause > 0 ? `put off for ${Math.round(pause / 1000)} s` : 'handed back';
  try {
    if (pause > 0) await job.moveToDelayed(Date.now() + pause, token);
    else await job.moveToWait(token);
    slot.end = { type: 'handed back', text: `${what}: ${why}` };
  } catch (error) {
    // The lock is gone: whoever looks for jobs of lost workers puts it back.
    slot.end = { type: 'handed back', text: `left to others: ${why} (${(error as Error).message})` };
  }
  throw verdict.type === 'later' ? new DelayedError() : new WaitingError();
}

function asProgress({ kind, message, lesson }: JobFailure) {
  return { kind, ...(lesson ?? { where: '', expected: '', found: message, todo: '' }) };
}
