/**
 * @file All flows of a queue at one moment, as plain data: see view.ts.
 */
import type { QueueConnection } from '../redis/open.ts';
import type { FlowView, SnapshotFilter } from './view.ts';

export type { FlowView, JobState, JobView, SnapshotFilter } from './view.ts';

/** Flows, newest first. Jobs whose data is garbage are listed too, with a `problem`. */
export async function snapshot(
  _connection: QueueConnection,
  _filter: SnapshotFilter = {},
): Promise<FlowView[]> {
  throw new Error('internal: not there yet');
}
