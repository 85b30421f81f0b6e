import type { TraceRecord } from "@kvm-age/trace";
import { type AgevmNote, decimal, hexadecimal, parseAgevmNote } from "./agevm-note.js";

/** What the recorded VMM says of its VM when it starts. */
export interface AgevmStart {
  /** Pages of the test memory. */
  readonly pages: number;
  /** First gfn of the test memory, and where the owner has it. */
  readonly gfnBase: number;
  readonly hva: number;
  /** Whether the guest maps the test memory by 2 MiB pages. */
  readonly guestUses2m: boolean;
  /** Whether A and D are set in the guest's entries from the start. */
  readonly presetAd: boolean;
  /** Whether the guest runs without paging. */
  readonly nonpaging: boolean;
}

/** The VMM's first note, null if the trace is not of that VMM. */
export function findAgevmStart(records: readonly TraceRecord[]): AgevmStart | null {
  for (const record of records) {
    if (record.kind !== "note") continue;
    const note = parseAgevmNote(record.text);
    if (note?.what === "start") return readStart(note);
  }
  return null;
}

function readStart(note: AgevmNote): AgevmStart {
  return {
    pages: decimal(note, "npages"),
    gfnBase: hexadecimal(note, "gfn_base"),
    hva: hexadecimal(note, "hva"),
    guestUses2m: decimal(note, "g2m") !== 0,
    presetAd: decimal(note, "presetAD") !== 0,
    nonpaging: decimal(note, "nonpaging") !== 0,
  };
}
