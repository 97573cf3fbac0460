/**
 * @file What a person sees of a running stage: a bar with rate and ETA on a terminal, a plain line every few seconds where
 * there is none (CI, a pipe, a log). Everything goes to stderr; stdout belongs to results.
 */
import pc from 'picocolors';
import type { ProgressBar, StageContext } from '../context.ts';
import { printable } from '../printable.ts';
import { drawErrLine, eraseErrLine, writeErr } from './streams.ts';

/** Seconds between plain lines when stderr is not a terminal. */
const PLAIN_INTERVAL = 5;

/** Milliseconds between two drawings of a bar. */
const DRAWN_INTERVAL = 125;

/** Characters of a bar. */
const WIDTH = 24;

/** Bars on the terminal that have not ended, the one drawn last at the end. */
const drawn = new Set<DrawnBar>();

/** A context that reports on stderr; `quiet` keeps warnings only. */
export function terminalContext(signal: AbortSignal, quiet = false): StageContext {
  const live = Boolean(process.stderr.isTTY);
  return {
    bar(label, total, unit, done = 0) {
      if (quiet || signal.aborted) return { update() {}, finish() {} };
      const meter = meterOf({ label: printable(label), total, unit: printable(unit), from: done });
      return live ? drawnBar(meter) : plainBar(meter);
    },
    note: (message) => {
      if (!quiet) say(pc.dim(message));
    },
    warn: (message) => say(`${pc.yellow('warning')} ${message}`),
    signal,
  };
}

/**
 * Leaves the bars as they are, for good: of work that failed or is told to stop nothing more is drawn, and nothing waits to
 * be. What is written next begins on a line of its own.
 * @returns whether there were any
 */
export function settleBars(): boolean {
  const bars = [...drawn];
  for (const bar of bars) bar.settle();
  return bars.length > 0;
}

/** A line above the bar. */
function say(line: string): void {
  const last = [...drawn].at(-1);
  if (last) eraseErrLine();
  writeErr(`${line}\n`);
  last?.draw();
}

interface DrawnBar {
  draw(): void;
  settle(): void;
}

/** Draws when it is told something new, not by a clock: nothing of it keeps the process alive. */
function drawnBar(meter: Meter): ProgressBar {
  let [last, said, at] = [meter.from, '', 0];
  const bar: DrawnBar = {
    draw() {
      drawn.delete(bar);
      drawn.add(bar);
      at = performance.now();
      drawErrLine(meter.drawn(last, said));
    },
    settle() {
      if (!drawn.delete(bar)) return;
      drawErrLine(meter.drawn(last, said));
      writeErr('\n');
    },
  };
  bar.draw();
  return {
    update(done, note = '') {
      [last, said] = [done, note];
      if (drawn.has(bar) && performance.now() - at >= DRAWN_INTERVAL) bar.draw();
    },
    finish(note = '') {
      said = note;
      bar.settle();
    },
  };
}

function plainBar(meter: Meter): ProgressBar {
  let spoke = Date.now();
  let last = meter.from;
  return {
    update(done, note) {
      last = done;
      if (Date.now() - spoke < PLAIN_INTERVAL * 1000) return;
      spoke = Date.now();
      writeErr(`${meter.plain(done, note)}\n`);
    },
    finish: (note) => writeErr(`${meter.plain(last, note)}\n`),
  };
}

/** Says in a line how far the work is. */
interface Meter {
  from: number;
  drawn(done: number, note: string): string;
  plain(done: number, note?: string): string;
}

function meterOf(work: { label: string; total: number; unit: string; from: number }): Meter {
  const { label, total, unit, from } = work;
  const rate = rateMeter(from);
  const share = (done: number) => (total > 0 ? Math.min(1, Math.max(0, done / total)) : 1);
  const percent = (done: number) => `${Math.floor(100 * share(done))}%`;
  const counts = (done: number) => `${compact(done)}/${compact(total)}`;
  const speed = (done: number) => `${compact(rate(done))} ${unit}/s`;
  const eta = (done: number) => etaText(rate(done), total - done);
  return {
    from,
    drawn(done, note) {
      const full = Math.round(WIDTH * share(done));
      const bar = '█'.repeat(full) + '░'.repeat(WIDTH - full);
      const told = [`${bar} ${percent(done)}`, `${counts(done)} ${unit}`, speed(done), eta(done)].join(' | ');
      return `${pc.bold(label.padEnd(10))} ${told} ${printable(note)}`;
    },
    plain(done, note = '') {
      const told = [percent(done), `${counts(done)} ${unit}`, speed(done), eta(done)].join(' | ');
      return `${label}: ${told} ${printable(note)}`;
    },
  };
}

/** Units per second since the start of this process's part of the work. */
function rateMeter(from: number): (done: number) => number {
  const start = performance.now();
  return (done) => (1000 * (done - from)) / Math.max(performance.now() - start, 1);
}

function etaText(rate: number, left: number): string {
  if (left <= 0) return 'done';
  if (rate <= 0) return 'ETA …';
  return `ETA ${duration(left / rate)}`;
}

/** 75 → "1m15s". */
export function duration(seconds: number): string {
  const s = Math.round(seconds);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${String(s % 60).padStart(2, '0')}s`;
  return `${Math.floor(s / 3600)}h${String(Math.floor((s % 3600) / 60)).padStart(2, '0')}m`;
}

/** 1234567 → "1.23M". */
export function compact(value: number): string {
  for (const [scale, suffix] of [
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const) {
    if (Math.abs(value) >= scale) return `${(value / scale).toPrecision(3)}${suffix}`;
  }
  return Number.isInteger(value) ? String(value) : value.toPrecision(3);
}
