/** Ranks of the values, 1 for the smallest, in their order; equal values share the mean of their ranks. */
export function ranks(values: readonly number[]): number[] {
  const order = values.map((_, index) => index).sort((a, b) => values[a]! - values[b]!);
  const result = new Array<number>(values.length);
  for (let first = 0; first < order.length; ) {
    let next = first + 1;
    while (next < order.length && values[order[next]!] === values[order[first]!]) next++;
    for (const index of order.slice(first, next)) result[index] = (first + 1 + next) / 2;
    first = next;
  }
  return result;
}
