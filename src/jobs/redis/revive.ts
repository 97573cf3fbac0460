/**
 * @file Keeps the private server alive for those who use it: if it is killed in the night (by the kernel for want of memory,
 * say), the first worker that misses it starts it again, on the same file. One that was stopped by `unfold queue stop` is
 * left alone.
 */
import type { Cluster, Redis } from 'ioredis';
import type { StageContext } from '../../context.ts';
import { type PrivatePlace, readRecord } from './place.ts';
import { startPrivateServer } from './private-server.ts';

/** Watches a connection to the private server as long as it is open. */
export function reviveServer(client: Redis | Cluster, place: PrivatePlace, context: StageContext): void {
  let busy = false;
  let told = '';
  const revive = async () => {
    const record = await readRecord(place);
    if (record === undefined || record.stopping) return;
    await startPrivateServer(context, place);
  };
  // At every attempt to connect, so every two seconds at most.
  client.on('reconnecting', () => {
    if (busy || context.signal.aborted) return;
    busy = true;
    revive()
      .catch((error: Error) => {
        if (error.message === told || context.signal.aborted) return;
        told = error.message;
        context.warn(`the private Redis cannot be started again: ${error.message}`);
      })
      .finally(() => (busy = false));
  });
}
