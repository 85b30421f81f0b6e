/** A range of counts that is drawn alike. */
export interface HeatStep {
  readonly low: number;
  readonly high: number;
}

/** Cuts the counts from 1 to `max` into at most `steps` ranges of about the same width. */
export function heatSteps(max: number, steps: number): readonly HeatStep[] {
  const used = Math.min(steps, max);
  return Array.from({ length: used }, (_, index) => ({
    low: Math.floor((max * index) / used) + 1,
    high: Math.floor((max * (index + 1)) / used),
  }));
}

/** Number of the step that a count falls into, from 0; -1 for 0. */
export function stepOf(count: number, steps: readonly HeatStep[]): number {
  return steps.findIndex(({ low, high }) => count >= low && count <= high);
}

/** A step in words: `3`, or `3 to 5`. */
export function stepText({ low, high }: HeatStep): string {
  return low === high ? String(low) : `${low} to ${high}`;
}
