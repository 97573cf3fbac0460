/**
 * @file What a person sees of a running stage: a bar with rate and ETA on a terminal (cli-progress), a plain line every
 * few seconds where there is none (CI, a pipe, a log). Everything goes to stderr; stdout belongs to results.
 */
import { type Options, SingleBar } from 'cli-progress';
import pc from 'picocolors';
import type { ProgressBar, StageContext } from '../context.ts';
import { shownText } from '../shown-url.ts';

/** Seconds between plain lines when stderr is not a terminal. */
const PLAIN_INTERVAL = 5;

/** A context that reports on stderr; `quiet` keeps warnings only. */
export function terminalContext(signal: AbortSignal, quiet = false): StageContext {
  const live = Boolean(process.stderr.isTTY);
  let active: TerminalBar | undefined;
  const say = (text: string) => {
    const line = shownText(text);
    active?.clear();
    process.stderr.write(`${line}\n`);
    active?.draw();
  };
  return {
    bar(label, total, unit, done = 0) {
      if (quiet) return { update() {}, finish() {} };
      const bar = live
        ? drawnBar(label, total, unit, done, () => (active = undefined))
        : plainBar(label, total, unit, done);
      if ('draw' in bar) active = bar as TerminalBar;
      return bar;
    },
    note: (message) => {
      if (!quiet) say(pc.dim(message));
    },
    warn: (message) => say(`${pc.yellow('warning')} ${message}`),
    signal,
  };
}

interface TerminalBar extends ProgressBar {
  clear(): void;
  draw(): void;
}

function drawnBar(label: string, total: number, unit: string, from: number, ended: () => void): TerminalBar {
  const meter = rateMeter(from);
  const options: Options = {
    stream: process.stderr,
    format: `${pc.bold(label.padEnd(10))} {bar} {percentage}% | {counts} ${unit} | {rate} | {eta_text} {note}`,
    barsize: 24,
    hideCursor: true,
    fps: 8,
    etaBuffer: 64,
    barCompleteChar: '█',
    barIncompleteChar: '░',
  };
  const bar = new SingleBar(options);
  const payload = (done: number, note = '') => {
    const rate = meter(done);
    return {
      counts: `${compact(done)}/${compact(total)}`,
      rate: `${compact(rate)} ${unit}/s`,
      eta_text: etaText(rate, total - done),
      note,
    };
  };
  bar.start(Math.max(total, 1), from, payload(from));
  let last = from;
  return {
    update(done, note) {
      last = done;
      bar.update(Math.min(done, total), payload(done, note));
    },
    finish(note) {
      bar.update(Math.min(last, total), payload(last, note));
      bar.stop();
      ended();
    },
    clear() {
      process.stderr.write('\r\x1b[2K');
    },
    draw() {
      bar.render();
    },
  };
}

function plainBar(label: string, total: number, unit: string, from: number): ProgressBar {
  const meter = rateMeter(from);
  let spoke = Date.now();
  let last = from;
  const line = (done: number, note = '') => {
    const rate = meter(done);
    const percent = total > 0 ? Math.floor((100 * done) / total) : 100;
    const counts = `${compact(done)}/${compact(total)} ${unit}`;
    process.stderr.write(
      `${label}: ${percent}% | ${counts} | ${compact(rate)} ${unit}/s | ${etaText(rate, total - done)} ${note}\n`,
    );
  };
  return {
    update(done, note) {
      last = done;
      if (Date.now() - spoke < PLAIN_INTERVAL * 1000) return;
      spoke = Date.now();
      line(done, note);
    },
    finish: (note) => line(last, note),
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
