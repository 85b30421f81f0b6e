import { kvmPagesPerHpage, toPgLevel } from "@kvm-age/spte";
import type { NoteRecord } from "../schema/trace-record.js";
import type { AgingCall } from "./aging-call.js";
import type { GuestMemoryMap } from "./guest-memory-map.js";
import { decimalField, hexField, noteFields } from "./note-fields.js";

const PAGE_BYTES = 4096;

/** A call about whole pages tells where their frames stand if it was passed on for exactly as many frames. */
function learnFromHandlers(map: GuestMemoryMap, call: AgingCall, hva: number, pages: number): void {
  for (const { start, end } of call.gfnRanges) {
    if (end - start === pages) map.add({ gfn: start, hva, pages });
  }
}

/** Without probes only a call about exactly one mapping tells, by the leaf that it aged. */
function learnFromLeaves(map: GuestMemoryMap, call: AgingCall, hva: number, pages: number): void {
  for (const { gfn, level } of call.aged) {
    if (kvmPagesPerHpage(toPgLevel(level)) === pages) map.add({ gfn, hva, pages });
  }
}

/** Adds what an aging call shows about the place of guest memory in the host. */
export function learnFromAgingCall(map: GuestMemoryMap, call: AgingCall): void {
  const aligned = call.start % PAGE_BYTES === 0;
  if (!aligned) return;
  const pages = Math.ceil((call.end - call.start) / PAGE_BYTES);
  if (call.gfnRanges.length > 0) learnFromHandlers(map, call, call.start, pages);
  else learnFromLeaves(map, call, call.start, pages);
}

/** Adds what a note says: `… npages= … hva= gfn_base=` or `… gfn= hva= pages=` for a slot, `… gfn= hva=` for a page. */
export function learnFromNote(map: GuestMemoryMap, { text }: NoteRecord): void {
  if (!text.includes("hva=")) return;
  const fields = noteFields(text);
  const hva = hexField(fields.get("hva"));
  const base = hexField(fields.get("gfn_base"));
  const pages = decimalField(fields.get("npages"));
  const gfn = hexField(fields.get("gfn"));
  if (hva === null || hva % PAGE_BYTES !== 0) return;
  if (base !== null && pages !== null) map.add({ gfn: base, hva, pages });
  else if (gfn !== null) map.add({ gfn, hva, pages: decimalField(fields.get("pages")) ?? 1 });
}
