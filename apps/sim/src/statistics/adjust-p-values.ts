/**
 * Adjusts p values of several tests for being several (Benjamini and Hochberg): of the figures called
 * different at an adjusted p below x, no more than the share x is expected to be called so wrongly.
 * @returns adjusted values in the order given, none below its original, none above 1
 */
export function adjustPValues(pValues: readonly number[]): number[] {
  const largestFirst = pValues.map((_, index) => index).sort((x, y) => pValues[y]! - pValues[x]!);
  const adjusted = new Array<number>(pValues.length);
  let smallest = 1;
  largestFirst.forEach((index, place) => {
    const rank = pValues.length - place;
    smallest = Math.min(smallest, pValues[index]! * (pValues.length / rank));
    adjusted[index] = smallest;
  });
  return adjusted;
}
