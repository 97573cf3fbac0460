/**
 * @file The {@link StageContext} of a job: bars become the job's progress, notes and warnings lines of its log. Where a
 * terminal draws, this sends small messages, at most two of progress a second; the last state is always sent.
 */
import type { ProgressBar, StageContext } from '../context.ts';
import type { JobProgress } from './progress.ts';
import type { FromChild } from './protocol.ts';

/** Milliseconds between two messages of progress. */
const INTERVAL = 500;

/** Losses kept for a sparkline. */
const LOSSES = 60;

/** A context that tells `send` what happens. Throws nothing that `send` does not throw. */
export function jobContext(send: (message: FromChild) => void, signal: AbortSignal): StageContext {
  const publish = throttled((progress: JobProgress) => send({ type: 'progress', progress }));
  const losses = thinned(LOSSES);
  return {
    bar: (label, total, unit, done = 0) => jobBar({ label, total, unit, done }, losses, publish),
    note: (text) => send({ type: 'log', level: 'note', text }),
    warn: (text) => send({ type: 'log', level: 'warn', text }),
    signal,
  };
}

type Start = Required<Pick<JobProgress, 'label' | 'total' | 'unit' | 'done'>>;

function jobBar(start: Start, losses: Thinned, publish: Throttled): ProgressBar {
  const began = performance.now();
  let state: JobProgress = { ...start };
  const change = (change: JobProgress) => {
    state = { ...state, ...change };
    return state;
  };
  publish.soon(state);
  return {
    update(done, note, facts) {
      const seconds = (performance.now() - began) / 1000;
      // Of this process's part only: what an earlier one did took no time here.
      const rate = seconds > 0 ? Math.max(0, done - start.done) / seconds : 0;
      const left = Math.max(0, start.total - done);
      const loss = lossOf(facts);
      if (loss !== undefined) losses.add(loss);
      const known = finite({ ...state.facts, ...facts });
      publish.soon(
        change({
          done,
          rate,
          eta: rate > 0 ? left / rate : undefined,
          note,
          ...(Object.keys(known).length > 0 && { facts: known }),
          ...(losses.values().length > 0 && { losses: losses.values() }),
        }),
      );
    },
    finish(note) {
      publish.now(change({ eta: 0, ...(note !== undefined && { note }) }));
    },
  };
}

/** The loss; of several coders (`k16/loss`) their mean. */
function lossOf(facts: Readonly<Record<string, number>> = {}): number | undefined {
  if (facts.loss !== undefined) return facts.loss;
  const all = Object.entries(facts).flatMap(([name, value]) => (name.endsWith('/loss') ? [value] : []));
  return all.length > 0 ? all.reduce((sum, loss) => sum + loss, 0) / all.length : undefined;
}

/** JSON has no NaN: a number that is none is left out. */
function finite(facts: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => Number.isFinite(value)));
}

interface Thinned {
  add(value: number): void;
  /** A new array, so that what was sent does not change. */
  values(): number[];
}

/** At most `limit` of the values added, evenly spaced over all of them: when full, every second is dropped. */
function thinned(limit: number): Thinned {
  let kept: number[] = [];
  let stride = 1;
  let seen = 0;
  return {
    add(value) {
      if (!Number.isFinite(value)) return;
      if (seen++ % stride !== 0) return;
      if (kept.length === limit) {
        kept = kept.filter((_, i) => i % 2 === 0);
        stride *= 2;
        if ((seen - 1) % stride !== 0) return;
      }
      kept.push(value);
    },
    values: () => [...kept],
  };
}

interface Throttled {
  /** Now, or when the interval since the last one is over; only the newest is then sent. */
  soon(progress: JobProgress): void;
  now(progress: JobProgress): void;
}

function throttled(send: (progress: JobProgress) => void): Throttled {
  let last = Number.NEGATIVE_INFINITY;
  let waiting: JobProgress | undefined;
  let timer: NodeJS.Timeout | undefined;
  const now = (progress: JobProgress) => {
    clearTimeout(timer);
    timer = waiting = undefined;
    last = performance.now();
    send(progress);
  };
  return {
    now,
    soon(progress) {
      const wait = last + INTERVAL - performance.now();
      if (wait <= 0) return now(progress);
      waiting = progress;
      timer ??= setTimeout(() => waiting && now(waiting), wait);
      // A finished job's process does not live on for it: `finish` has sent the last state.
      timer.unref();
    },
  };
}
