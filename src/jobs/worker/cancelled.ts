/** @file Jobs that somebody has cancelled: the request lies in Redis until the job is retried (see watch/cancel.ts). */
import { type CancelRequest, KEYS } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';
import { cancelReason } from '../watch/cancel.ts';
import type { Slot } from './slot.ts';

/** What a cancelled job fails with; undefined if nobody cancelled it. */
export async function cancelledBy(connection: QueueConnection, id: string): Promise<string | undefined> {
  const request = await connection.client.hget(KEYS.cancel, id);
  return request === null ? undefined : textOf(request);
}

/** Stops those in hand; a child has `grace` milliseconds for its checkpoint. */
export async function haltCancelled(
  connection: QueueConnection,
  inHand: Iterable<Slot>,
  grace: number,
): Promise<void> {
  const slots = [...inHand].filter(({ id }) => id !== '');
  if (slots.length === 0) return;
  const requests = await connection.client.hmget(KEYS.cancel, ...slots.map(({ id }) => id));
  for (const [i, slot] of slots.entries()) {
    const request = requests[i];
    if (typeof request === 'string' && !slot.stop)
      slot.halt({ type: 'cancelled', text: textOf(request) }, grace);
  }
}

function textOf(request: string): string {
  try {
    const { by, reason } = JSON.parse(request) as Partial<CancelRequest>;
    return cancelReason({ by: String(by ?? 'somebody'), reason: String(reason ?? '') });
  } catch {
    return cancelReason({ by: 'somebody', reason: '' });
  }
}
