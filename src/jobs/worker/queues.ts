/**
 * @file Which queues a worker serves, and in which order it looks at them: later stages of a flow first, so that what was
 * begun is finished before more is begun.
 */
import { parseQueueName } from '../names.ts';
import { queueNames } from '../watch/read.ts';
import { SlotWorker, type SlotWorkerOptions, type TakenJob } from './slot-worker.ts';

/** What a worker is for. */
export interface Service {
  /** Stages that it does; all unless given. */
  stages?: readonly string[];
  /** What it offers: it does jobs that ask for some of these, and those that ask for nothing. */
  tags: readonly string[];
}

/** Stages from the end of a flow to its beginning; others come between `train` and `harvest`. */
const LATER = ['pipeline', 'summary', 'evaluate', 'export', 'finetune', 'train'];
const EARLIER = ['harvest', 'corpus', 'tokenise'];

/** A queue's name as Unfold makes them; BullMQ would refuse a colon. */
const NAME = /^[a-z][a-z0-9-]{0,30}(@[\w+-]{1,300})?$/;

/** Those of `names` that are served, in the order of looking; jobs that ask for tags before those that everybody does. */
export function served(names: readonly string[], { stages, tags }: Service): string[] {
  return names
    .filter((name) => NAME.test(name))
    .map((name) => ({ name, ...parseQueueName(name) }))
    .filter(({ stage }) => stages === undefined || stages.includes(stage))
    .filter((queue) => queue.tags.every((tag) => tags.includes(tag)))
    .sort(
      (a, b) =>
        rank(a.stage) - rank(b.stage) ||
        b.tags.length - a.tags.length ||
        (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
    )
    .map(({ name }) => name);
}

function rank(stage: string): number {
  const later = LATER.indexOf(stage);
  if (later >= 0) return later;
  const earlier = EARLIER.indexOf(stage);
  return earlier >= 0 ? LATER.length + 1 + earlier : LATER.length;
}

/** The queues at hand. */
export class Queues {
  readonly #service: Service;
  readonly #options: SlotWorkerOptions;
  readonly #workers = new Map<string, SlotWorker>();
  /** Queues that could not be read at the last look. */
  readonly #broken = new Set<string>();
  #order: string[] = [];
  #all: string[] = [];

  constructor(service: Service, options: SlotWorkerOptions) {
    this.#service = service;
    this.#options = options;
  }

  /** Names of those that are served. */
  get names(): readonly string[] {
    return this.#order;
  }

  /** Names of all queues there are. */
  get all(): readonly string[] {
    return this.#all;
  }

  /** Looks which queues there are. */
  async refresh(): Promise<void> {
    const names = await queueNames(this.#options.connection.client);
    this.#all = names.filter((name) => NAME.test(name));
    // What was known stays: a Redis that lost its data has the same queues again before long.
    const order = served([...new Set([...names, ...this.#workers.keys()])], this.#service);
    for (const name of order) {
      if (this.#workers.has(name)) continue;
      const worker = new SlotWorker(name, this.#options);
      this.#workers.set(name, worker);
      await worker.begin();
    }
    this.#order = order;
  }

  /** The next job of all queues, if there is one. A queue that is damaged does not keep the others from being served. */
  async take(): Promise<TakenJob | undefined> {
    for (const name of this.#order) {
      try {
        const taken = await this.#workers.get(name)?.take();
        this.#broken.delete(name);
        if (taken) return taken;
      } catch (error) {
        const { message } = error as Error;
        if (/Connection is closed/.test(message)) throw error;
        if (!this.#broken.has(name)) this.#options.complain(`queue ${name} cannot be read: ${message}`);
        this.#broken.add(name);
      }
    }
    return undefined;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.close(true)));
  }
}
