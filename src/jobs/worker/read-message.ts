/** @file Whether a job's message is one that this worker may act on: ours, of reasonable size, and in the right queue. */
import type { Job } from 'bullmq';
import { UnfoldError } from '../../errors.ts';
import { type JobMessage, MAX_MESSAGE_BYTES, parseMessage } from '../message.ts';
import { queueName } from '../names.ts';

/** @throws UnfoldError `bad-job` */
export function readMessage(job: Job): JobMessage {
  const where = `job ${job.id} of queue ${job.queueName}`;
  try {
    const bytes = Buffer.byteLength(JSON.stringify(job.data) ?? '');
    if (bytes > MAX_MESSAGE_BYTES) throw bad(where, `at most ${MAX_MESSAGE_BYTES} bytes`, `${bytes} bytes`);
    const message = parseMessage(job.data, where);
    const queue = queueName(message.stage, message.tags);
    if (queue !== job.queueName) throw bad(where, 'work for this queue', `a message for queue ${queue}`);
    return message;
  } catch (error) {
    if (error instanceof UnfoldError) throw error;
    // Nested so deeply that looking at it runs out of stack, and the like.
    throw bad(where, 'a message of names and numbers', (error as Error).message);
  }
}

function bad(where: string, expected: string, found: string): UnfoldError {
  return new UnfoldError('bad-job', {
    where,
    expected,
    found,
    todo: 'queue the work again with unfold enqueue; who put this here?',
  });
}
