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
  const aborted = new Promise<null>((resolve) => {
    signal.addEventListener("abort", () => resolve(null), { once: true });
  });
  while (!signal.aborted) {
    const next = iterator.next();
    const first = await Promise.race([next, aborted]);
    if (first === null) {
      next.catch(() => {});
      break;
    }
    if (first.done === true) return;
    yield first.value;
  }
  release();
}
