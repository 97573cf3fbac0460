/** @file Several at a time, in order, until one fails. */

/**
 * Calls `work` for every item, at most `atOnce` at a time. After the first error no further item is begun, `stop` is
 * aborted, and the error is thrown once all that were begun have ended.
 */
export async function inParallel<T>(
  items: Iterable<T> | AsyncIterable<T>,
  atOnce: number,
  work: (item: T, stop: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  let failure: { error: unknown } | undefined;
  const queue = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const lane = async () => {
    while (!failure) {
      const next = await queue.next();
      if (next.done) return;
      await work(next.value, controller.signal);
    }
  };
  const guarded = () =>
    lane().catch((error: unknown) => {
      failure ??= { error };
      controller.abort();
    });
  await Promise.all(Array.from({ length: atOnce }, guarded));
  if (failure) throw (failure as { error: unknown }).error;
}
