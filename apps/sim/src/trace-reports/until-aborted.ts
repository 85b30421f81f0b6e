/**
 * What `promise` gives, or null as soon as the signal is aborted. Not `Promise.race`: a promise of the signal that every call shares would
 * keep the results of all of them until the end.
 */
function orAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value | null> {
  return new Promise((resolve, reject) => {
    const stop = (): void => resolve(null);
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/**
 * The items of `source`, until the signal is aborted, even while the next one is awaited. `release` is called then, to end what the source
 * waits for.
 */
export async function* untilAborted<Item>(
  source: AsyncIterable<Item>,
  signal: AbortSignal,
  release: () => void,
): AsyncGenerator<Item> {
  const iterator = source[Symbol.asyncIterator]();
  while (!signal.aborted) {
    const next = await orAborted(iterator.next(), signal);
    if (next === null) break;
    if (next.done === true) return;
    yield next.value;
  }
  release();
}
