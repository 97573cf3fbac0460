/** @file Numbers and times as the page writes them, and the signs that tell a job's state without relying on colour. */
import { compact, duration } from '../../cli/terminal.ts';
import type { JobState } from '../../jobs/watch/view.ts';
import { html, type Markup } from '../html.ts';

/** Sign and word of each state. */
const STATES: Record<JobState, readonly [sign: string, word: string]> = {
  waiting: ['◌', 'waiting'],
  paused: ['‖', 'paused'],
  delayed: ['◔', 'delayed'],
  active: ['▶', 'running'],
  waits: ['·', 'waits for others'],
  blocked: ['⊘', 'blocked'],
  completed: ['✓', 'done'],
  failed: ['✗', 'failed'],
  cancelled: ['⊗', 'cancelled'],
};

/** `✓ done`, coloured by CSS. */
export function stateBadge(state: JobState): Markup {
  const [sign, word] = STATES[state] ?? ['?', String(state)];
  return html`<span class="state s-${state}"><span aria-hidden="true">${sign}</span> ${word}</span>`;
}

/** `3 done, 1 running`: counts by state, in the order of a life. */
export function countsText(counts: Partial<Record<JobState, number>>): string {
  return (Object.keys(STATES) as JobState[])
    .filter((state) => counts[state])
    .map((state) => `${counts[state]!.toLocaleString('en')} ${STATES[state][1]}`)
    .join(', ');
}

/** A moment; the browser's script rewrites it in the reader's time zone. */
export function moment(milliseconds: number | undefined): Markup | string {
  const date = new Date(milliseconds ?? Number.NaN);
  if (Number.isNaN(date.getTime()) || !milliseconds) return '';
  const iso = date.toISOString();
  return html`<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')} UTC</time>`;
}

/** Seconds as `1m15s`; empty where unknown. */
export function seconds(value: number | undefined): string {
  return value === undefined || !Number.isFinite(value) ? '' : duration(Math.max(0, value));
}

/** `1.2M tokens/s`. */
export function rateText(rate: number | undefined, unit = ''): string {
  return rate === undefined || !Number.isFinite(rate) ? '' : `${compact(round(rate))} ${unit}/s`;
}

/** Bytes with binary units: `1.5 GiB`. */
export function bytesText(bytes: number | undefined): string {
  if (bytes === undefined || !Number.isFinite(bytes)) return '';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const power = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 2 ** (10 * power);
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

/** A number for reading: 4 digits. */
export function numberText(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '';
  return Number.isInteger(value) && Math.abs(value) < 1e6
    ? String(value)
    : String(Number(value.toPrecision(4)));
}

function round(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : value;
}
