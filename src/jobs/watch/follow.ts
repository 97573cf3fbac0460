/** @file Waits until flows have ended, and tells of every change: `unfold enqueue --wait`. */
import type { QueueConnection } from '../redis/open.ts';
import type { FlowView } from './view.ts';

/**
 * Watches flows by their ids until each has ended (`ended` in view.ts); returns their last views, in the order of the ids.
 * `onChange` gets all of them whenever something is new.
 * @throws the signal's reason when aborted; UnfoldError `no-such-job` for a flow that is not (or no longer) there
 */
export async function follow(
  _connection: QueueConnection,
  _flows: readonly string[],
  _onChange: (flows: FlowView[]) => void,
  _signal?: AbortSignal,
): Promise<FlowView[]> {
  throw new Error('internal: not there yet');
}
