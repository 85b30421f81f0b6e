import { isShadowPresentPte, type Spte } from "@kvm-age/spte";
import type { CheckContext } from "./check-context.js";
import { isHardwareChange } from "./hardware-change.js";
import { type EntryState, framesOfEntry, roundGfn, TdpTable } from "./tdp-table.js";

/** Bits of a gfn that a misprint could have hit. */
const GFN_BITS = 40;
const LEVEL_BITS = [1, 2, 4] as const;
const MAX_LEVEL = 5;

/** Where an event says that an entry is. */
export interface EntryPlace {
  readonly asId: number;
  readonly gfn: number;
  readonly level: number;
}

/** Whether the entry can show as `spte` now. */
export function explains(context: CheckContext, entry: EntryState, spte: Spte): boolean {
  if (entry.value === null) return true;
  const leaf = entry.table.level === 1 || (entry.value & 0x80n) !== 0n;
  return isHardwareChange(context.format, entry.value, spte, leaf);
}

/** The entries at a place, one for each tree; the newest tree first, those that are given up last. */
export function entriesAt(context: CheckContext, place: EntryPlace): readonly EntryState[] {
  const tables = [...context.tables.covering(place.asId, place.level, place.gfn)].reverse();
  const ordered = tables.filter((table) => !table.obsolete).concat(tables.filter((table) => table.obsolete));
  return ordered.map((table) => table.entry(table.indexOf(place.gfn)));
}

/** The entries of a gfn in all address spaces, for events that do not name one. */
export function entriesOfGfn(context: CheckContext, gfn: number, level: number): readonly EntryState[] {
  return [0, 1].flatMap((asId) => entriesAt(context, { asId, gfn, level }));
}

/** The entry at the place that can show as `spte`; known values are preferred to unknown ones. Null if there is none. */
export function entryShowing(context: CheckContext, place: EntryPlace, spte: Spte): EntryState | null {
  const matching = entriesAt(context, place).filter((entry) => explains(context, entry, spte));
  return matching.find((entry) => entry.value !== null) ?? matching[0] ?? null;
}

/** Starts to believe in a table that the trace does not show the beginning of. */
export function assumeTable(context: CheckContext, place: EntryPlace): EntryState {
  const gfn = roundGfn(place.gfn, place.level + 1);
  const table = new TdpTable(place.asId, place.level, gfn, { kind: "unknown" }, null);
  context.tables.add(table);
  context.assumedTables++;
  context.treesFromBefore = true;
  return table.entry(table.indexOf(place.gfn));
}

function* misprintedPlaces(place: EntryPlace): Generator<EntryPlace> {
  for (let bit = 0; bit < GFN_BITS; bit++) {
    const power = 2 ** bit;
    const set = Math.floor(place.gfn / power) % 2 === 1;
    const gfn = set ? place.gfn - power : place.gfn + power;
    if (gfn % framesOfEntry(place.level) === 0) yield { ...place, gfn };
  }
  for (const bit of LEVEL_BITS) {
    const level = place.level ^ bit;
    if (level >= 1 && level <= MAX_LEVEL && place.gfn % framesOfEntry(level) === 0) yield { ...place, level };
  }
  yield { ...place, asId: place.asId === 0 ? 1 : 0 };
}

/** The present entry one bit of gfn, level or address space away that shows as `spte`: the one that a misprinted line was about. */
export function misprintedEntry(context: CheckContext, place: EntryPlace, spte: Spte): EntryState | null {
  if (!isShadowPresentPte(spte)) return null;
  for (const other of misprintedPlaces(place)) {
    const found = entriesAt(context, other).find(
      (entry) => entry.value !== null && explains(context, entry, spte),
    );
    if (found !== undefined) return found;
  }
  return null;
}
