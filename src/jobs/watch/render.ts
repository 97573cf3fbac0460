/**
 * @file Flows as a table: a flow's stages in the order of the work, parts indented below their stage; those that have
 * nothing to tell are summed up in the stage's row. Fits a terminal's width by leaving out columns and shortening notes,
 * and its height by leaving out the rows at the end.
 */
import { stripVTControlCharacters } from 'node:util';
import pc from 'picocolors';
import { pasteable } from '../../invocation.ts';
import { printable } from '../../printable.ts';
import { textTable } from '../../table.ts';
import type { WorkerRecord } from '../names.ts';
import { barCell, lossCell, noteCell, rateCell, stateCell, timeCell, workerCell } from './cells.ts';
import { type FlowView, type JobView, jobsOf } from './view.ts';

export interface RenderOptions {
  /** Columns and lines of the terminal; default: as wide and high as needed. */
  width?: number;
  height?: number;
  /** Show every part in a row of its own. */
  parts?: boolean;
  /** Milliseconds, Redis's clock. */
  now: number;
}

const COLUMNS = ['job', 'state', 'progress', 'rate', 'time', 'loss', 'worker', 'note'] as const;
type Column = (typeof COLUMNS)[number];
type Row = Record<Column, string>;

/** Left out in this order where the terminal is narrow. */
const DISPENSABLE: readonly Column[] = ['worker', 'rate', 'loss', 'time', 'progress'];
const GAP = 2;
const LEAST_NOTE = 12;

/** Rows of parts shown under one stage; more are summed up. */
const SHOWN_PARTS = 12;

/** The table, with a line about workers below. */
export function renderFlows(
  flows: readonly FlowView[],
  workers: readonly WorkerRecord[],
  options: RenderOptions,
): string {
  const { width = Number.POSITIVE_INFINITY, height } = options;
  const footer = footLines(flows, workers).map((line) => cut(line, width));
  if (flows.length === 0) return footer.join('\n');
  const rows = flows.flatMap((flow) => rowsOf(flow, options));
  // The head, an empty line, and the terminal's last line stay free.
  const room = height ? Math.max(2, height - footer.length - 3) : rows.length;
  if (rows.length <= room) return [table(rows, width), '', ...footer].join('\n');
  const lively = [...flows].sort((a, b) => rank(a) - rank(b)).flatMap((flow) => rowsOf(flow, options));
  const more = cut(pc.dim(`… and ${rows.length - room + 1} rows more: unfold jobs --once shows all`), width);
  return [table(lively.slice(0, room - 1), width), more, '', ...footer].join('\n');
}

/** Where there is no room for all: what runs, then what failed, what will run, what is done. */
function rank({ state }: FlowView): number {
  if (state === 'active') return 0;
  if (state === 'failed') return 1;
  return state === 'completed' || state === 'cancelled' ? 3 : 2;
}

function rowsOf(flow: FlowView, options: RenderOptions): Row[] {
  const total = Object.values(flow.counts).reduce((sum, count) => sum + count, 0);
  const [only] = flow.roots;
  if (total === 1 && only) return [jobRow(only, only.id, options)];
  const head: Row = {
    ...{
      job: pc.bold(printable(flow.id)),
      state: stateCell(flow.state),
      progress: barCell(flow.share, flow.state === 'active'),
    },
    ...{
      rate: '',
      time: timeCell(flow, options.now),
      loss: '',
      worker: '',
      note: pc.dim(printable(flow.out ?? '')),
    },
  };
  return [head, ...flow.roots.flatMap((root) => stageRows(root, options))];
}

/** The stages that a job waits for, then the job, then its parts. */
function stageRows(job: JobView, options: RenderOptions): Row[] {
  const stages = job.children.filter(({ part }) => part === undefined);
  const parts = job.children.filter(({ part }) => part !== undefined);
  const label = job.id.startsWith(`${job.flow}.`) ? job.id.slice(job.flow.length + 1) : job.id;
  const telling = options.parts ? parts : parts.filter(isTelling).slice(0, SHOWN_PARTS);
  return [
    ...stages.flatMap((stage) => stageRows(stage, options)),
    jobRow(job, `  ${label}`, options),
    ...telling.map((part) => jobRow(part, `    ${part.part}`, options)),
  ];
}

/** Parts that wait or are done are only counted. */
function isTelling({ state, attempts }: JobView): boolean {
  return state === 'active' || state === 'failed' || (state === 'delayed' && attempts > 0);
}

function jobRow(job: JobView, label: string, { now }: RenderOptions): Row {
  return {
    job: printable(label),
    state: stateCell(job.state),
    progress: barCell(job.share, job.state === 'active'),
    rate: rateCell(job),
    time: timeCell(job, now),
    loss: lossCell(job),
    worker: workerCell(job),
    note: printable(noteCell(job)),
  };
}

function table(rows: readonly Row[], width: number): string {
  const size = (column: Column) =>
    Math.max(column.length, ...rows.map((row) => lengthOf(row[column]))) + (column === 'note' ? 0 : GAP);
  const sizes = new Map(COLUMNS.map((column) => [column, size(column)]));
  const filled = (column: Column) => rows.some((row) => row[column] !== '');
  let columns: readonly Column[] = COLUMNS.filter(filled);
  const taken = () => columns.reduce((sum, name) => sum + (name === 'note' ? 0 : sizes.get(name)!), 0);
  for (const column of DISPENSABLE) {
    const least = columns.includes('note') ? Math.min(LEAST_NOTE, sizes.get('note')!) : 0;
    if (taken() + least <= width) break;
    columns = columns.filter((name) => name !== column);
  }
  const room = Math.max(LEAST_NOTE, width - taken());
  const cells = rows.map((row) => columns.map((name) => (name === 'note' ? cut(row.note, room) : row[name])));
  return textTable(columns, cells)
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Shortens a text to a width; colours are lost where it must. */
function cut(text: string, width: number): string {
  const plain = stripVTControlCharacters(text);
  return plain.length <= width ? text : `${plain.slice(0, width - 1)}…`;
}

function lengthOf(text: string): number {
  return stripVTControlCharacters(text).length;
}

function footLines(flows: readonly FlowView[], workers: readonly WorkerRecord[]): string[] {
  const counts = new Map<string, number>();
  for (const { state } of flows) counts.set(state, (counts.get(state) ?? 0) + 1);
  const states = [...counts].map(([state, count]) => `${count} ${state}`).join(', ');
  const sum = flows.length ? `${plural(flows.length, 'flow')}: ${states}` : 'no jobs';
  return [pc.dim(`${sum}; ${workerText(workers)}`), ...advice(flows, workers)];
}

function workerText(workers: readonly WorkerRecord[]): string {
  if (workers.length === 0) return 'no workers';
  const slots = workers.reduce((total, { concurrency }) => total + concurrency, 0);
  const busy = workers.reduce((total, { jobs }) => total + jobs.length, 0);
  const hosts = [...new Set(workers.map(({ host }) => host))].slice(0, 4).join(', ');
  return `${plural(workers.length, 'worker')} on ${printable(hosts)}, ${busy} of ${plural(slots, 'slot')} busy`;
}

/** What to do where jobs wait in vain. */
function advice(flows: readonly FlowView[], workers: readonly WorkerRecord[]): string[] {
  const jobs = flows.flatMap(jobsOf);
  const waiting = jobs.filter(({ state }) => state === 'waiting');
  if (waiting.length === 0) return [];
  const able = (job: JobView) =>
    workers.some(
      ({ stages, tags, stopping }) =>
        !stopping &&
        (stages.length === 0 || stages.includes(job.stage)) &&
        job.tags.every((tag) => tags.includes(tag)),
    );
  const vain = waiting.find((job) => !able(job));
  if (!vain) return [];
  const tags = vain.tags.length ? ` --tags ${vain.tags.join(',')}` : '';
  return [
    `${pc.yellow('waiting for a worker')} that takes ${printable(`${vain.queue}: ${pasteable(`unfold worker${tags}`)}`)}`,
  ];
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
