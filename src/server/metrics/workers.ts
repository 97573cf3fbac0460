/** @file Numbers of workers: what each says of itself. Used by the server for all, and by a worker for itself. */
import type { WorkerRecord } from '../../jobs/names.ts';
import type { Sheet } from './gauges.ts';

/** A worker does not know itself when Redis last saw it. */
type Described = Omit<WorkerRecord, 'seen' | 'started'> & Partial<WorkerRecord>;

const MOST = 500;
const LABELS = { worker: '', host: '' };

/** Declares the series and fills in these workers. */
export function collectWorkers(sheet: Sheet, workers: readonly Described[]): void {
  put(sheet, LABELS);
  for (const record of workers.slice(0, MOST)) {
    put(sheet, { worker: record.id, host: record.host }, record);
  }
}

function put(sheet: Sheet, labels: typeof LABELS, record?: Described): void {
  const gauge = (name: string, help: string, value?: number) =>
    sheet.gauge(`unfold_worker_${name}`, help, labels, value);
  const counter = (name: string, help: string, value?: number) =>
    sheet.counter(`unfold_worker_${name}`, help, labels, value);
  gauge('rss_bytes', 'Resident memory of a worker and its children together.', record?.rss_bytes);
  gauge('slots', 'Jobs that a worker does at the same time.', record?.concurrency);
  gauge('busy_slots', 'Jobs that a worker has at the moment.', record?.jobs.length);
  gauge('stopping', '1 once a worker takes no new jobs.', record && Number(record.stopping));
  gauge(
    'start_time_seconds',
    'When a worker began, seconds since 1970 by Redis’s clock.',
    record?.started && record.started / 1000,
  );
  gauge(
    'seen_time_seconds',
    'When a worker was last heard of, seconds since 1970 by Redis’s clock.',
    record?.seen && record.seen / 1000,
  );
  counter('jobs_completed_total', 'Jobs that a worker finished since it began.', record?.completed);
  counter('jobs_failed_total', 'Jobs that failed at a worker since it began.', record?.failed);
}
