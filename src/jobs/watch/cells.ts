/** @file What stands in the cells of a job's row: state, bar, rate, time, loss, worker and a note. */
import pc from 'picocolors';
import { compact, duration } from '../../cli/terminal.ts';
import { printable } from '../../printable.ts';
import type { FlowView, JobState, JobView } from './view.ts';

const BAR = 12;

const COLOURS: Record<JobState, (text: string) => string> = {
  waiting: pc.white,
  paused: pc.yellow,
  delayed: pc.blue,
  active: pc.cyan,
  waits: pc.dim,
  blocked: pc.yellow,
  completed: pc.green,
  failed: pc.red,
  cancelled: pc.magenta,
};

export function stateCell(state: JobState): string {
  return COLOURS[state](state);
}

/** `██████░░░░░░  50%`; nothing where nothing is done and nothing runs. */
export function barCell(share: number, running: boolean): string {
  if (!running && share === 0) return '';
  const full = Math.min(BAR, Math.floor(share * BAR + 1e-9));
  const percent = Math.min(100, Math.floor(share * 100 + 1e-9));
  return `${'█'.repeat(full)}${pc.dim('░'.repeat(BAR - full))} ${String(percent).padStart(3)}%`;
}

export function rateCell({ rate, progress, state, children }: JobView): string {
  if (rate === undefined || state === 'completed') return '';
  const unit = progress.unit ?? children.find((child) => child.progress.unit)?.progress.unit;
  return `${compact(rate)}${unit ? ` ${unit}` : ''}/s`;
}

/** `ETA 34s` of what runs, `took 3s` of what ended, `in 8s` of what comes later. `now`: milliseconds. */
export function timeCell(view: JobView | FlowView, now: number): string {
  if (view.state === 'delayed' && 'until' in view && view.until !== undefined) {
    return view.until > now ? `in ${duration((view.until - now) / 1000)}` : 'now';
  }
  if (view.finished !== undefined) return view.seconds === undefined ? '' : `took ${duration(view.seconds)}`;
  if (view.eta !== undefined) return `ETA ${duration(view.eta)}`;
  return view.state === 'active' && view.seconds !== undefined ? `for ${duration(view.seconds)}` : '';
}

export function lossCell({ progress }: JobView): string {
  const loss = progress.facts?.loss ?? progress.losses?.at(-1);
  return loss === undefined ? '' : loss.toPrecision(4);
}

/** `█▆▅▃▂▁` from least to most; nothing for fewer than two values. */
export function sparkline(values: readonly number[] = []): string {
  const known = values.filter(Number.isFinite);
  if (known.length < 2) return '';
  const least = Math.min(...known);
  const range = Math.max(...known) - least;
  const height = (value: number) => (range > 0 ? Math.round((7 * (value - least)) / range) : 0);
  return known.map((value) => '▁▂▃▄▅▆▇█'[height(value)]).join('');
}

export function workerCell({ worker, state }: JobView): string {
  if (!worker || !['active', 'failed'].includes(state)) return '';
  const name = printable(`${worker.host}:${worker.pid}`);
  return worker.lost ? pc.yellow(`${name}?`) : name;
}

/** Why a job is where it is, in a few words. */
export function noteCell(job: JobView): string {
  return [...reasons(job), ...history(job)].filter((text) => text !== '').join('; ');
}

function reasons(job: JobView): string[] {
  const because = firstLine(job.failedReason);
  if (job.problem) return [job.problem];
  if (job.state === 'failed') return [because, foundIn(job)];
  if (job.state === 'cancelled') return [because || `by ${job.cancel?.by}: ${job.cancel?.reason}`];
  if (job.state === 'blocked') {
    const names = job.blockedBy?.map(ownId(job)) ?? [];
    return [partsNote(job), `by ${names[0]}${names.length > 1 ? ` and ${names.length - 1} more` : ''}`];
  }
  if (job.state === 'waits') return [partsNote(job) || waitsNote(job)];
  if (job.state === 'delayed' && job.attempts > 0) {
    return [`attempt ${job.attempts + 1} of ${job.maxAttempts} after: ${because}`];
  }
  if (job.state === 'active') {
    if (job.cancel) return ['being cancelled'];
    return [job.worker?.lost ? 'its worker is silent' : '', job.progress.note ?? ''];
  }
  return [partsNote(job)];
}

function history({ recovered, attempts, state }: JobView): string[] {
  const retried = state === 'active' || state === 'completed' ? attempts - Number(state === 'completed') : 0;
  return [
    recovered > 0 ? `recovered ${recovered === 1 ? 'once' : `${recovered} times`}` : '',
    retried > 0 ? `attempt ${retried + 1}` : '',
  ];
}

/** What was found where something else was expected: a lesson's first line says only where. */
function foundIn({ progress, failedReason = '' }: JobView): string {
  return firstLine(progress.failure?.found ?? /^ *found +(.*)$/m.exec(failedReason)?.[1]);
}

function waitsNote(job: JobView): string {
  const names = job.children.filter(({ state }) => state !== 'completed').map(({ id }) => ownId(job)(id));
  return names.length ? `for ${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}` : '';
}

/** `16 parts: 3 done, 4 active, 9 waiting`. */
export function partsNote({ children }: JobView): string {
  const parts = children.filter(({ part }) => part !== undefined);
  if (parts.length === 0) return '';
  const count = new Map<string, number>();
  for (const { state } of parts) {
    const name = state === 'completed' ? 'done' : state;
    count.set(name, (count.get(name) ?? 0) + 1);
  }
  return `${parts.length} parts, ${[...count].map(([name, n]) => `${n} ${name}`).join(', ')}`;
}

/** Ids without the flow that they share with this job. */
function ownId({ flow }: JobView): (id: string) => string {
  return (id) => (id.startsWith(`${flow}.`) ? id.slice(flow.length + 1) : id);
}

export function firstLine(text: string | undefined): string {
  return text?.split('\n', 1)[0]?.trim() ?? '';
}
