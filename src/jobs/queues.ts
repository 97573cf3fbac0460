/** @file BullMQ's queues as somebody who adds jobs needs them: opened when they are needed, closed together. */
import { FlowProducer, type Job, Queue } from 'bullmq';
import { UnfoldError } from '../errors.ts';
import { type JobMessage, jobId } from './message.ts';
import { parseQueueName, queueName } from './names.ts';
import type { QueueConnection } from './redis/open.ts';
import { queueNames } from './watch/read.ts';

/** The queue of a message. */
export const queueOf = ({ stage, tags }: JobMessage): string => queueName(stage, tags);

/** A hash that is no job of BullMQ's; other errors are told by others. */
function unreadable(id: string, cause: unknown): unknown {
  if (!(cause instanceof SyntaxError || cause instanceof TypeError)) return cause;
  return new UnfoldError('bad-job', {
    where: `job ${id}`,
    expected: 'none of this id, or one that unfold enqueue has made',
    found: `one that cannot be read (${cause.message})`,
    todo: `see who else writes to this Redis; unfold jobs clean --flow ${id} --yes removes it`,
    cause,
  });
}

/** Queues by name, and the producer of flows over them. */
export class Queues {
  readonly #connection: QueueConnection;
  readonly #open = new Map<string, Queue>();
  #known: Promise<string[]> | undefined;
  #producer: FlowProducer | undefined;

  constructor(connection: QueueConnection) {
    this.#connection = connection;
  }

  named(name: string): Queue {
    const known = this.#open.get(name);
    if (known) return known;
    const queue = new Queue(name, this.#connection.bullmq());
    queue.on('error', () => undefined);
    this.#open.set(name, queue);
    return queue;
  }

  /** The job of this id, whatever tags it was queued with. */
  async job(message: JobMessage): Promise<Job | undefined> {
    this.#known ??= queueNames(this.#connection.client);
    const own = queueOf(message);
    const others = (await this.#known).filter((name) => parseQueueName(name).stage === message.stage);
    for (const name of new Set([own, ...others])) {
      const job = await this.named(name)
        .getJob(jobId(message))
        .catch((error: unknown) => {
          throw unreadable(jobId(message), error);
        });
      if (job) return job;
    }
    return undefined;
  }

  get producer(): FlowProducer {
    if (this.#producer) return this.#producer;
    this.#producer = new FlowProducer(this.#connection.bullmq());
    // Commands that fail say so themselves.
    this.#producer.on('error', () => undefined);
    return this.#producer;
  }

  async close(): Promise<void> {
    await this.#producer?.close();
    await Promise.all([...this.#open.values()].map((queue) => queue.close()));
  }
}
