import { type Grants, x86Grants } from "../access/rights.js";
import type { CompleteGuestPagingState, GuestPagingMode } from "./guest-paging-state.js";

// The paging registers but CR3, in one u32.
/** Bits 1:0: index into `MODES`. */
const MODE_MASK = 3;
const CR0_WP = 1 << 2;
const EFER_NX = 1 << 3;
const CR4_SMEP = 1 << 4;
const CR4_SMAP = 1 << 5;
const CR4_PCIDE = 1 << 6;
/** Bits 27:16: PCID. */
const PCID_SHIFT = 16;

const CONTROLS_SHIFT = 2;
const CONTROLS_MASK = CR0_WP | EFER_NX | CR4_SMEP | CR4_SMAP;
const CONTROLS_COUNT = 16;

const MODES: readonly GuestPagingMode[] = ["none", "pae", "4-level", "5-level"];

/** The number of the mode without paging, as `modeNumber` gives it; the others are 1 to 3, in the order of their levels. */
export const MODE_NONE = 0;

/** The registers of a state. */
export function registersOf(state: CompleteGuestPagingState): number {
  return (
    MODES.indexOf(state.mode) |
    (state.cr0Wp ? CR0_WP : 0) |
    (state.eferNx ? EFER_NX : 0) |
    (state.cr4Smep ? CR4_SMEP : 0) |
    (state.cr4Smap ? CR4_SMAP : 0) |
    (state.cr4Pcide ? CR4_PCIDE : 0) |
    (state.pcid << PCID_SHIFT)
  );
}

/** The state that registers and a CR3 stand for. */
export function stateOfRegisters(registers: number, cr3: number): CompleteGuestPagingState {
  return {
    mode: MODES[modeNumber(registers)]!,
    cr3,
    pcid: registers >>> PCID_SHIFT,
    cr0Wp: (registers & CR0_WP) !== 0,
    eferNx: noExecuteEnabled(registers),
    cr4Smep: (registers & CR4_SMEP) !== 0,
    cr4Smap: (registers & CR4_SMAP) !== 0,
    cr4Pcide: (registers & CR4_PCIDE) !== 0,
  };
}

/** The paging mode, [0, 3]. */
export function modeNumber(registers: number): number {
  return registers & MODE_MASK;
}

/** EFER.NXE. */
export function noExecuteEnabled(registers: number): boolean {
  return (registers & EFER_NX) !== 0;
}

/** Whether a page fault's error code tells fetches apart (Intel SDM vol. 3, "Page-fault exceptions"). */
export function reportsFetches(registers: number): boolean {
  return (registers & (EFER_NX | CR4_SMEP)) !== 0;
}

/** Whether permissions that are cached under one value hold under the other. */
export function grantTheSame(registers: number, others: number): boolean {
  return ((registers ^ others) & (MODE_MASK | CONTROLS_MASK)) === 0;
}

/**
 * The registers that the hardware runs with over shadow tables: NXE and WP are on whatever the guest's are, and without
 * paging SMEP and SMAP are off (`vmx_set_cr0`, `vmx_set_cr4`).
 */
export function shadowRegisters(registers: number): number {
  const controls = registers | CR0_WP | EFER_NX;
  return modeNumber(registers) === MODE_NONE ? controls & ~(CR4_SMEP | CR4_SMAP) : controls;
}

const GRANTS: readonly Grants[] = Array.from({ length: CONTROLS_COUNT }, (_, controls) =>
  x86Grants(stateOfRegisters(controls << CONTROLS_SHIFT, 0)),
);

/** What the rights of an x86 walk grant under the registers. */
export function grantsOf(registers: number): Grants {
  return GRANTS[(registers & CONTROLS_MASK) >> CONTROLS_SHIFT]!;
}
