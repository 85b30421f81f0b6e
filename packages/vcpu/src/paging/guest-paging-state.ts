import type { AccessControls } from "../access/rights.js";
import { InvalidGuestPagingError } from "../errors.js";
import type { CompletePagingMode } from "../format/paging-mode.js";

/** How the guest pages by itself. `none`: CR0.PG is clear. `pae`: CR4.PAE without long mode. The others: long mode. */
export type GuestPagingMode = "none" | "pae" | "4-level" | "5-level";

/**
 * The registers of a guest that decide how its linear addresses are translated; plain data. 32-bit paging without PAE,
 * protection keys, LA57 with PCID-dependent bits of CR3, and global pages are not modelled.
 */
export interface GuestPagingState extends AccessControls {
  readonly mode: GuestPagingMode;
  /**
   * Guest-physical address of the root table, in bytes: 4 KiB aligned below 2^MAXPHYADDR, with `pae` 32-byte aligned below
   * 2^32. With `none` it is kept and not used. Not the register itself: the PCID is a field of its own.
   */
  readonly cr3: number;
  /** Bits 11:0 of the register CR3 under CR4.PCIDE, [0, 4095]; otherwise 0. @default 0 */
  readonly pcid?: number;
  /** CR4.PCIDE, in long mode only. */
  readonly cr4Pcide: boolean;
}

/** A `GuestPagingState` with nothing left open. */
export type CompleteGuestPagingState = Required<GuestPagingState>;

/** A guest that never turned paging on: how every vCPU starts. */
export const PAGING_OFF: CompleteGuestPagingState = {
  mode: "none",
  cr3: 0,
  pcid: 0,
  cr0Wp: false,
  eferNx: false,
  cr4Smep: false,
  cr4Smap: false,
  cr4Pcide: false,
};

const MODES: readonly GuestPagingMode[] = ["none", "pae", "4-level", "5-level"];
const PCID_LIMIT = 4096;
const PAGE_BYTES = 4096;
const PDPT_BYTES = 32;

function check(condition: boolean, register: string, given: unknown, allowed: string): void {
  if (!condition) throw new InvalidGuestPagingError(register, String(given), allowed);
}

const isLongMode = (mode: GuestPagingMode): boolean => mode === "4-level" || mode === "5-level";

function checkCr3(cr3: number, mode: GuestPagingMode, { maxPhyAddr }: CompletePagingMode): void {
  const alignment = mode === "pae" ? PDPT_BYTES : PAGE_BYTES;
  const bits = mode === "pae" ? 32 : maxPhyAddr;
  const aligned = Number.isInteger(cr3) && cr3 >= 0 && cr3 % alignment === 0;
  check(aligned && cr3 < 2 ** bits, "cr3", cr3, `a multiple of ${alignment} in [0, 2^${bits})`);
}

/**
 * Fills in the defaults and refuses what a guest cannot load.
 *
 * @throws InvalidGuestPagingError
 */
export function completeGuestPaging(
  state: GuestPagingState,
  paging: CompletePagingMode,
): CompleteGuestPagingState {
  const { mode, cr3, cr0Wp, eferNx, cr4Smep, cr4Smap, cr4Pcide, pcid = 0 } = state;
  check(MODES.includes(mode), "mode", mode, MODES.join(", "));
  const la57 = paging.pageFormat !== "shadow" || paging.rootLevel === 5;
  check(mode !== "5-level" || la57, "mode", mode, "at most 4-level over shadow tables with rootLevel 4");
  checkCr3(cr3, mode, paging);
  check(!cr4Pcide || isLongMode(mode), "cr4Pcide", cr4Pcide, `false with mode ${mode}`);
  const limit = cr4Pcide ? PCID_LIMIT : 1;
  const counted = Number.isInteger(pcid) && pcid >= 0 && pcid < limit;
  check(counted, "pcid", pcid, cr4Pcide ? "an integer in [0, 4096)" : "0 without cr4Pcide");
  return { mode, cr3, pcid, cr0Wp, eferNx, cr4Smep, cr4Smap, cr4Pcide };
}
