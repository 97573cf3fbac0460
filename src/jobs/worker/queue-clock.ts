/**
 * @file The queue's time of day. BullMQ stamps delays, and decides which are over, by the clock of whichever worker is
 * asking: a job that a worker ten minutes fast puts off for five seconds would rest for ten minutes at the others. Here
 * every worker goes by Redis's clock: it is asked now and then, the machine's monotonic clock says what has passed since,
 * and what BullMQ sends as the time of day is replaced by it on the way out.
 *
 * Within the time of one answer and what two monotonic clocks drift apart in {@link REFRESH}, that is right. When Redis moves to
 * a machine with another clock, delays are off by the difference for as long. Lines of logs keep the machine's own time.
 */
import type { RedisQueueBackend } from 'bullmq';
import { duration } from '../../cli/terminal.ts';
import { monotonic } from './lease.ts';
import { every } from './timing.ts';

/** Milliseconds between two questions. */
const REFRESH = 30_000;

/** Milliseconds by which a number may differ from this machine's time of day and still be meant as that. */
const NOW = 1000;

/** Seconds by which this machine's clock may differ before a person is told. */
const WRONG = 30;

/** See the file's comment. */
export class QueueClock {
  readonly #ask: () => Promise<number>;
  /** Redis's clock minus the monotonic one. */
  #origin: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `ask` answers with Redis's clock in milliseconds. */
  constructor(ask: () => Promise<number>) {
    this.#ask = ask;
  }

  /** Asks for the first time, and from then on again and again; says if this machine's clock is wrong. */
  async begin(): Promise<string | undefined> {
    await this.#refresh();
    this.#timer = every(REFRESH, () => this.#refresh()).unref();
    const ahead = (Date.now() - this.now()) / 1000;
    if (Math.abs(ahead) < WRONG) return undefined;
    const how = `${duration(Math.abs(ahead))} ${ahead > 0 ? 'ahead of' : 'behind'}`;
    return `the clock of this machine is ${how} Redis’s: the queue goes by Redis’s, times in logs are off by that`;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Milliseconds since 1970 by Redis's clock; by this machine's before the first answer. */
  now(): number {
    return this.#origin === undefined ? Date.now() : Math.round(this.#origin + monotonic());
  }

  /** From now on commands of `backend` that carry the time of day carry Redis's. */
  correct(backend: RedisQueueBackend): void {
    const send = backend.execCommand.bind(backend);
    backend.execCommand = (client, command, args: unknown[]) => {
      const here = Date.now();
      const isNow = (value: unknown) => typeof value === 'number' && Math.abs(value - here) < NOW;
      return send(
        client,
        command,
        args.map((value) => (isNow(value) ? this.now() : value)),
      );
    };
  }

  async #refresh(): Promise<void> {
    const sent = monotonic();
    const answer = await this.#ask();
    this.#origin = answer - (sent + monotonic()) / 2;
  }
}
