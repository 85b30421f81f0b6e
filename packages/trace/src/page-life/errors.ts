import type { PageRanges } from "../state/page-ranges.js";

const MOST_RANGES = 6;

function rangesText(gfns: PageRanges): string {
  const { ranges } = gfns;
  if (ranges.length === 0) return "the trace maps no guest frames";
  const shown = ranges
    .slice(0, MOST_RANGES)
    .map(([start, end]) => (end - start === 1 ? hex(start) : `${hex(start)} to ${hex(end - 1)}`));
  const more = ranges.length > MOST_RANGES ? ` and ${ranges.length - MOST_RANGES} more ranges` : "";
  return `the trace maps gfns ${shown.join(", ")}${more}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** Thrown when text names no page. */
export class InvalidPageNameError extends SyntaxError {
  override readonly name = "InvalidPageNameError";
  constructor(text: string) {
    super(
      `${JSON.stringify(text)} names no page; expected gfn:, gpa: or hva: and up to 13 hexadecimal digits, or the digits alone`,
    );
  }
}

/** Thrown when a trace shows nothing of a page. */
export class UnknownPageError extends RangeError {
  override readonly name = "UnknownPageError";
  constructor(text: string, gfns: PageRanges, reason: string) {
    super(`${text} ${reason}; ${rangesText(gfns)}`);
  }
}

/** Thrown when a name fits several pages of a trace. */
export class AmbiguousPageError extends RangeError {
  override readonly name = "AmbiguousPageError";
  constructor(text: string, gfns: readonly number[]) {
    super(`${text} may be any of ${gfns.map((gfn) => `gfn:${gfn.toString(16)}`).join(", ")}; say which`);
  }
}
