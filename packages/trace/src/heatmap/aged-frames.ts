import { kvmPagesPerHpage, toPgLevel } from "@kvm-age/spte";
import type { AgingCall } from "../state/aging-call.js";
import type { GuestMemoryMap } from "../state/guest-memory-map.js";

/** Guest frames from `start` up to, not including, `end`. */
export interface FrameRange {
  readonly start: number;
  readonly end: number;
}

/** The guest frames of one aging call. */
export interface AgedFrames {
  /** Those that the host asked about. */
  readonly asked: readonly FrameRange[];
  /** Those that were young. A huge page is young as a whole, even if less of it was asked about. */
  readonly young: readonly FrameRange[];
}

const PAGE_BYTES = 4096;
const NOTHING: AgedFrames = { asked: [], young: [] };

function askedRanges(call: AgingCall, map: GuestMemoryMap): readonly FrameRange[] {
  if (call.gfnRanges.length > 0) return call.gfnRanges;
  const pages = Math.ceil((call.end - call.start) / PAGE_BYTES);
  return map.gfnsOf(call.start).map((gfn) => ({ start: gfn, end: gfn + pages }));
}

/**
 * The frames that a call asked about, and those that it found young. Where the call shows the SPTEs that it aged, those are young; else the
 * answer goes for all frames of the range together. A call whose frames or answer the trace does not show gives nothing.
 *
 * @param changesTell whether every young page shows as an SPTE change, as with the TDP MMU: then a call without one found nothing young
 */
export function agedFrames(call: AgingCall, map: GuestMemoryMap, changesTell: boolean): AgedFrames {
  const ranges = askedRanges(call, map);
  if (call.aged.length > 0) {
    const young = call.aged.map(({ gfn, level }) => ({
      start: gfn,
      end: gfn + kvmPagesPerHpage(toPgLevel(level)),
    }));
    return { asked: ranges.length > 0 ? ranges : young, young };
  }
  if (call.young === true) {
    const young = call.gfnRanges.filter((range) => range.young !== false);
    return { asked: ranges, young: call.gfnRanges.length > 0 ? young : ranges };
  }
  const answered = call.young === false || (changesTell && call.kind === "age");
  return answered ? { asked: ranges, young: [] } : NOTHING;
}
