/** @file A worker's own record in Redis, rewritten every few seconds: how watchers know that it lives, and with what. */
import { KEYS, type WorkerRecord } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';
import { jsonOf, readHash } from '../watch/read.ts';

/** Milliseconds between two writings. */
const INTERVAL = 2000;

/** Records older than this, in milliseconds of Redis's clock, are removed by whoever starts. */
const DEAD_AFTER = 10 * 60_000;

/** Writes what `state` says until closed. */
export class Heartbeat {
  readonly #connection: QueueConnection;
  readonly #state: () => Omit<WorkerRecord, 'seen' | 'started'>;
  #timer: NodeJS.Timeout | undefined;
  #started: number | undefined;
  #writing: Promise<void> | undefined;

  constructor(connection: QueueConnection, state: () => Omit<WorkerRecord, 'seen' | 'started'>) {
    this.#connection = connection;
    this.#state = state;
  }

  async begin(): Promise<void> {
    await this.#sweep().catch(() => undefined);
    await this.beat();
    this.#timer = setInterval(() => void this.beat(), INTERVAL);
  }

  /** Writes it now, unless that is under way. */
  async beat(): Promise<void> {
    this.#writing ??= this.#write()
      .catch(() => undefined)
      .finally(() => (this.#writing = undefined));
    await this.#writing;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
    await this.#connection.client.hdel(KEYS.workers, this.#state().id);
  }

  async #write(): Promise<void> {
    const now = await this.#connection.time();
    this.#started ??= now;
    const record: WorkerRecord = { ...this.#state(), seen: now, started: this.#started };
    await this.#connection.client.hset(KEYS.workers, record.id, JSON.stringify(record));
  }

  async #sweep(): Promise<void> {
    const now = await this.#connection.time();
    for (const [id, text] of await readHash(this.#connection.client, KEYS.workers))
      if (now - seenAt(text) > DEAD_AFTER) await this.#connection.client.hdel(KEYS.workers, id);
  }
}

function seenAt(text: string): number {
  try {
    return Number((jsonOf(text) as { seen?: unknown }).seen) || 0;
  } catch {
    return 0;
  }
}
