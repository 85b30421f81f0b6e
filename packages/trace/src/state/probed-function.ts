import type { ProbeRecord } from "../schema/trace-record.js";

/** What a probe event is about. */
export interface ProbedFunction {
  /** Name of the kernel's function, without what a compiler adds to it (`.constprop.0`, `.isra.0`). */
  readonly name: string;
  /** Whether the event is the function's return. */
  readonly returns: boolean;
}

const RETURN = /<- *([\w]+)/;
const ENTRY = /^([\w]+)/;

/** What places have been found to be: a trace has few, and each in many lines. */
const KNOWN_PLACES = new Map<string, ProbedFunction | null>();
const MOST_PLACES = 4096;

/** Finds the function by the place, because users choose the names of probes. Null if the place names none. */
export function probedFunction({ place }: ProbeRecord): ProbedFunction | null {
  const known = KNOWN_PLACES.get(place);
  if (known !== undefined) return known;
  const probed = readPlace(place);
  if (KNOWN_PLACES.size >= MOST_PLACES) KNOWN_PLACES.clear();
  KNOWN_PLACES.set(place, probed);
  return probed;
}

function readPlace(place: string): ProbedFunction | null {
  const returned = RETURN.exec(place)?.[1];
  if (returned !== undefined) return { name: returned, returns: true };
  const entered = ENTRY.exec(place)?.[1];
  return entered === undefined ? null : { name: entered, returns: false };
}

/**
 * What a function that answers yes or no has returned; null if the probe did not record `ret`. Kernels that return a bool leave the other
 * bits of the register as they were, so that the low byte counts.
 */
export function returnedTrue({ args }: ProbeRecord): boolean | null {
  const { ret } = args;
  return ret === undefined ? null : BigInt.asUintN(8, ret) !== 0n;
}

/** The pages `start` to `end` that a probe of a gfn handler recorded; null without both. */
export function probedRange({ args }: ProbeRecord): { readonly start: number; readonly end: number } | null {
  const { start, end } = args;
  return start === undefined || end === undefined ? null : { start: Number(start), end: Number(end) };
}
