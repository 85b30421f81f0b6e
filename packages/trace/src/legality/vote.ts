/** What one line says. */
export interface Statement {
  readonly value: number;
  readonly line: number;
}

/** What most lines say, and the lines that say something else. A tie goes to the value that was said first. */
export function vote(
  statements: readonly Statement[],
): { readonly winner: number; readonly losers: readonly Statement[] } | null {
  const counts = new Map<number, number>();
  for (const { value } of statements) counts.set(value, (counts.get(value) ?? 0) + 1);
  let best: readonly [number, number] | null = null;
  for (const [value, count] of counts) if (best === null || count > best[1]) best = [value, count];
  if (best === null) return null;
  const winner = best[0];
  return { winner, losers: statements.filter(({ value }) => value !== winner) };
}
