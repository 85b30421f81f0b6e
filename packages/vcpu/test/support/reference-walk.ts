import type { AccessKind, GuestPagingState } from "../../src/index.js";

/** Memory and second level as the reference sees them. */
export interface ReferenceMemory {
  /** Host frame of a guest frame and whether it may be written; null: not mapped. */
  secondLevel(gfn: bigint): { readonly pfn: bigint; readonly writable: boolean } | null;
  /** The word at a guest-physical address; 0 where there are no bytes. */
  read(gpa: bigint): bigint;
  /** Ors flags into it. */
  set(gpa: bigint, flags: bigint): void;
}

/** What an access must come to. */
export type Expected =
  | { readonly pfn: bigint }
  | { readonly guestFault: number }
  | { readonly violation: bigint; readonly guestPage: boolean };

const bit = (value: bigint, number: number): boolean => ((value >> BigInt(number)) & 1n) === 1n;
const range = (value: bigint, high: number, low: number): bigint =>
  (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);

const MAX_PHYSICAL = 46;

/** Intel's reserved bits, one figure of the SDM at a time. */
function isReserved(entry: bigint, level: number, state: GuestPagingState): boolean {
  if (range(entry, 51, MAX_PHYSICAL) !== 0n) return true;
  if (state.mode === "pae") {
    if (range(entry, 62, 52) !== 0n) return true;
    if (level === 3) return bit(entry, 63) || range(entry, 8, 5) !== 0n || range(entry, 2, 1) !== 0n;
  }
  if (bit(entry, 63) && !state.eferNx) return true;
  if (!bit(entry, 7) || level === 1) return false;
  if (level === 2) return range(entry, 20, 13) !== 0n;
  return level === 3 ? range(entry, 29, 13) !== 0n : true;
}

/** SDM, "Determination of access rights". */
function isAllowed(kind: AccessKind, path: readonly bigint[], state: GuestPagingState): boolean {
  const all = (number: number): boolean => path.every((entry) => bit(entry, number));
  const user = all(2);
  const executable = !state.eferNx || path.every((entry) => !bit(entry, 63));
  switch (kind) {
    case "read":
      return !(user && state.cr4Smap);
    case "write":
      return !(user && state.cr4Smap) && (all(1) || !state.cr0Wp);
    case "fetch":
      return !(user && state.cr4Smep) && executable;
    case "user-read":
      return user;
    case "user-write":
      return user && all(1);
    case "user-fetch":
      return user && executable;
  }
}

/**
 * A slow walk over EPT with A/D, written apart from the one under test: the whole of guest paging for one access,
 * flags included.
 */
export function referenceWalk(
  memory: ReferenceMemory,
  state: GuestPagingState,
  gva: bigint,
  kind: AccessKind,
): Expected {
  const writes = kind.endsWith("write");
  const fault = (present: boolean, reserved: boolean): Expected => ({
    guestFault:
      (present ? 1 : 0) +
      (writes ? 2 : 0) +
      (kind.startsWith("user") ? 4 : 0) +
      (reserved ? 8 : 0) +
      (kind.endsWith("fetch") && (state.eferNx || state.cr4Smep) ? 16 : 0),
  });
  const path: bigint[] = [];
  let table = BigInt(state.cr3);
  for (let level = state.mode === "pae" ? 3 : state.mode === "4-level" ? 4 : 5; ; level--) {
    const pdpte = state.mode === "pae" && level === 3;
    const gpa = table + 8n * range(gva, 11 + 9 * level, 3 + 9 * level);
    const memoryOfEntry = memory.secondLevel(gpa >> 12n);
    if (memoryOfEntry === null || !(pdpte || memoryOfEntry.writable))
      return { violation: gpa, guestPage: true };
    const entry = memory.read(gpa);
    if (!bit(entry, 0)) return fault(false, false);
    if (isReserved(entry, level, state)) return fault(true, true);
    if (!pdpte) path.push(entry);
    const leaf = level === 1 || (level <= 3 && bit(entry, 7));
    if (leaf && !isAllowed(kind, path, state)) return fault(true, false);
    if (!pdpte) memory.set(gpa, leaf && writes ? 0x60n : 0x20n);
    const frame = range(entry, MAX_PHYSICAL - 1, 12);
    if (!leaf) {
      table = frame << 12n;
      continue;
    }
    const offsetBits = BigInt(9 * (level - 1));
    const page =
      ((frame >> offsetBits) << offsetBits) | (range(gva, 11 + 9 * level, 12) & ((1n << offsetBits) - 1n));
    const final = memory.secondLevel(page);
    if (final === null || (writes && !final.writable))
      return { violation: (page << 12n) | range(gva, 11, 0), guestPage: false };
    return { pfn: final.pfn };
  }
}
