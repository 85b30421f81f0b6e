/** Wall-clock nanoseconds that `body` takes. */
export function timeNs(body: () => void): number {
  const start = process.hrtime.bigint();
  body();
  return Number(process.hrtime.bigint() - start);
}

/** The least of several figures for the same work: what other work on the machine disturbed least. */
export function leastOf(values: readonly number[]): number {
  return Math.min(...values);
}
