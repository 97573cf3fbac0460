/** @file Jobs that somebody has cancelled: the request lies in Redis until the job has failed for it (see watch/cancel.ts). */
import { type CancelRequest, KEYS } from '../names.ts';
import type { QueueConnection } from '../redis/open.ts';
import { cancelReason } from '../watch/cancel.ts';
import type { Slot } from './slot.ts';

/** Who cancelled the job in a slot and why; undefined if nobody did. */
export async function cancelledBy(
  { client }: QueueConnection,
  slot: Slot,
): Promise<CancelRequest | undefined> {
  const text = await client.hget(KEYS.cancel, slot.id);
  if (text === null) return undefined;
  slot.cancelled = text;
  return parsed(text);
}

/** The request, unless there is another by now. KEYS: the hash. ARGV: id, request. */
const FORGET = `
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end`;

/** Takes away the request for which the job in a slot has failed, so that it may be tried again. */
export async function forgetRequest(
  { client }: QueueConnection,
  { id, cancelled, taken }: Slot,
): Promise<void> {
  const hasFailed = taken.job.finishedOn !== undefined;
  if (cancelled !== undefined && hasFailed) await client.eval(FORGET, 1, KEYS.cancel, id, cancelled);
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
    if (typeof request !== 'string' || slot.stop) continue;
    slot.cancelled = request;
    slot.halt({ type: 'cancelled', text: cancelReason(parsed(request)) }, grace);
  }
}

function parsed(text: string): CancelRequest {
  try {
    const { by, reason } = JSON.parse(text) as Partial<CancelRequest>;
    return { by: String(by ?? 'somebody'), reason: String(reason ?? '') };
  } catch {
    return { by: 'somebody', reason: '' };
  }
}
