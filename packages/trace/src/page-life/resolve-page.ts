import { AmbiguousPageError, InvalidPageNameError, UnknownPageError } from "./errors.js";
import type { PageInventory } from "./page-inventory.js";

const PAGE_BYTES = 4096;
const NAME = /^(?:(gfn|gpa|hva):)?(?:0x)?([0-9a-f]{1,13})$/i;

interface PageName {
  /** Null where the text does not say. */
  readonly kind: "gfn" | "gpa" | "hva" | null;
  readonly value: number;
}

function parsePageName(text: string): PageName {
  const match = NAME.exec(text.trim());
  if (match === null) throw new InvalidPageNameError(text);
  const [, kind, digits] = match;
  return {
    kind: (kind?.toLowerCase() as PageName["kind"]) ?? null,
    value: Number.parseInt(digits!, 16),
  };
}

/** Frames that a bare number can mean: that frame, the frame at that gpa, the frames at that host-virtual address. */
function bareCandidates(value: number, { gfns, map }: PageInventory): readonly number[] {
  const gpaFrame = Math.floor(value / PAGE_BYTES);
  const guest = [value, gpaFrame].filter((gfn) => gfns.has(gfn));
  return [...new Set([...guest, ...map.gfnsOf(value)])];
}

function hvaFrames(text: string, value: number, { gfns, map }: PageInventory): readonly number[] {
  const found = map.gfnsOf(value);
  if (found.length > 0) return found;
  const known = map.ranges.map(
    ({ gfn, hva, pages }) => `${pages} page(s) from 0x${hva.toString(16)} (gfn 0x${gfn.toString(16)})`,
  );
  const place = known.length === 0 ? "nothing tells where guest memory stands" : `known: ${known.join(", ")}`;
  throw new UnknownPageError(text, gfns, `is not known to be guest memory (${place}; --slot tells more)`);
}

/**
 * Finds the guest frame that a user means: `gfn:40003`, `gpa:0x40003000`, `hva:0x7f…` or a bare hexadecimal number, which is a frame if the
 * trace has it, else a guest-physical or a host-virtual address.
 *
 * @throws {InvalidPageNameError} if the text is none of these.
 * @throws {UnknownPageError} if the trace shows nothing of the page.
 * @throws {AmbiguousPageError} if it fits several.
 */
export function resolvePage(text: string, inventory: PageInventory): number {
  const { kind, value } = parsePageName(text);
  if (kind === "gfn" || kind === "gpa") {
    const gfn = kind === "gfn" ? value : Math.floor(value / PAGE_BYTES);
    if (!inventory.gfns.has(gfn)) throw new UnknownPageError(text, inventory.gfns, "is not in the trace");
    return gfn;
  }
  const frames = kind === "hva" ? hvaFrames(text, value, inventory) : bareCandidates(value, inventory);
  if (frames.length > 1) throw new AmbiguousPageError(text, frames);
  const [frame] = frames;
  if (frame === undefined) throw new UnknownPageError(text, inventory.gfns, "is no page of the trace");
  return frame;
}
