/**
 * @file Waits until flows have ended, and tells of every change: `unfold enqueue --wait`. It asks again and again rather
 * than listen to BullMQ's events: a stream per queue would be read by every watcher, and queues come into being on the way.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { UnfoldError } from '../../errors.ts';
import type { QueueConnection } from '../redis/open.ts';
import { snapshot } from './snapshot.ts';
import { ended, type FlowView } from './view.ts';

/** Milliseconds between two looks, at least; a look that took long is followed by a pause three times as long. */
const INTERVAL = 500;

/**
 * Watches flows by their ids until each has ended (`ended` in view.ts); returns their last views, in the order of the ids.
 * `onChange` gets all of them whenever something is new.
 * @throws the signal's reason when aborted; UnfoldError `no-such-job` for a flow that is not (or no longer) there
 */
export async function follow(
  connection: QueueConnection,
  ids: readonly string[],
  onChange: (flows: FlowView[]) => void,
  signal: AbortSignal = new AbortController().signal,
): Promise<FlowView[]> {
  let told = '';
  for (;;) {
    signal.throwIfAborted();
    const began = performance.now();
    const flows = await Promise.all(ids.map((id) => flowById(connection, id)));
    const news = JSON.stringify(flows, (name, value: unknown) => (name === 'seconds' ? undefined : value));
    if (news !== told) onChange(flows);
    told = news;
    if (flows.every(ended)) return flows;
    await pauseAfter(performance.now() - began, signal);
  }
}

/** Rests between two looks at the queue; ends at once when aborted. */
export async function pauseAfter(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(Math.max(INTERVAL, 3 * milliseconds), undefined, { signal }).catch(() => undefined);
}

async function flowById(connection: QueueConnection, id: string): Promise<FlowView> {
  const flows = await snapshot(connection, { flow: id });
  const flow = flows.find((candidate) => candidate.id === id);
  if (flow) return flow;
  throw new UnfoldError('no-such-job', {
    where: `flow ${id}`,
    expected: 'a flow in this queue',
    found: 'nothing: it was removed, or Redis came back without its data',
    todo: 'unfold jobs --all lists what there is; unfold jobs requeue DIR queues again what is left to do in a folder',
  });
}
