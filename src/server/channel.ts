/**
 * @file One stream of events that many clients share: each change is made once and kept for a while, so that a client whose
 * connection broke goes on where it was (Last-Event-ID), and one that was away for too long, or that never was here, gets
 * everything anew.
 */
import { randomBytes } from 'node:crypto';
import type { Change, Dialect } from './changes.ts';
import type { Feed, State } from './feed.ts';

/** A change with its place in the stream. */
export interface Numbered extends Change {
  id: string;
}

/** See the methods. */
export interface Channel {
  /**
   * Yields events until `signal` is aborted: first what `lastId` has missed, or everything. Undefined every so often when
   * there is nothing to tell, so that a connection that is gone is noticed.
   */
  events(lastId: string | undefined, signal: AbortSignal): AsyncGenerator<Numbered | undefined>;
}

const KEPT = 500;
/** Milliseconds between signs of life. */
const QUIET = 10_000;

/** A channel of what `feed` says, in one dialect. */
export function createChannel(feed: Feed, dialect: Dialect): Channel {
  // A server that was started again counts from one: its ids must not be taken for the earlier server's.
  const life = randomBytes(4).toString('hex');
  let kept: { number: number; change: Change }[] = [];
  let count = 0;
  let last: State | undefined;
  const waiting = new Set<() => void>();

  const take = (state: State) => {
    if (state === last) return;
    const changes = last ? dialect.changes(last, state) : [];
    last = state;
    for (const change of changes) kept.push({ number: ++count, change });
    if (kept.length > KEPT) kept = kept.slice(-KEPT);
    if (changes.length > 0) for (const wake of [...waiting]) wake();
  };
  const wait = (signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, QUIET);
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        waiting.delete(done);
        resolve();
      };
      signal.addEventListener('abort', done, { once: true });
      waiting.add(done);
    });
  const numbered = (number: number, change: Change): Numbered => ({ ...change, id: `${life}-${number}` });

  async function* events(
    lastId: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Numbered | undefined> {
    const unwatch = feed.watch((state) => take(state));
    try {
      take(await feed.now());
      let seen = position(lastId, life, count);
      while (!signal.aborted) {
        const oldest = kept[0]?.number ?? count + 1;
        if (seen === undefined || seen < oldest - 1) {
          seen = count;
          for (const change of dialect.whole(last!)) yield numbered(count, change);
        }
        const from: number = seen;
        const news = kept.filter(({ number }) => number > from);
        for (const { number, change } of news) {
          yield numbered(number, change);
          seen = number;
        }
        if (news.length > 0) continue;
        await wait(signal);
        if (!signal.aborted && seen === count) yield undefined;
      }
    } finally {
      unwatch();
    }
  }
  return { events };
}

/** The number in an id of this life, if there was such a one. */
function position(id: string | undefined, life: string, count: number): number | undefined {
  const [, of, digits] = /^(\w+)-(\d{1,15})$/.exec(id ?? '') ?? [];
  const value = Number(digits);
  return of === life && value <= count ? value : undefined;
}
