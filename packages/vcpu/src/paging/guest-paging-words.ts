import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { CompleteGuestPagingState } from "./guest-paging-state.js";
import { registersOf, stateOfRegisters } from "./registers.js";

// The guest's paging registers, written by the vCPU's thread only. Two records, the guest's own (L1) and that of the guest
// it runs (L2); the level word tells which one is loaded.
//   0  u32: 1 while the nested guest (L2) runs, else 0
//   8  L1: u32 registers, 4 bytes unused, u64 CR3
//  24  L2: the same
const L1_RECORD = 8;
const RECORD_BYTES = 16;
const CR3 = 8;

/** Bytes of the registers; all zero is a guest without paging, and no nested guest running. */
export const GUEST_PAGING_BYTES: number = L1_RECORD + 2 * RECORD_BYTES;

function recordOf(cpu: Cpu, words: Address): Address {
  return offset(words, L1_RECORD + cpu.readOnce32(words) * RECORD_BYTES);
}

/** The registers word that is loaded. */
export function readRegisters(cpu: Cpu, words: Address): number {
  return cpu.readOnce32(recordOf(cpu, words));
}

/** The CR3 that is loaded. */
export function readCr3(cpu: Cpu, words: Address): number {
  return Number(cpu.readOnce(offset(recordOf(cpu, words), CR3)));
}

/** The state that is loaded. */
export function readGuestPagingWords(cpu: Cpu, words: Address): CompleteGuestPagingState {
  return stateOfRegisters(readRegisters(cpu, words), readCr3(cpu, words));
}

/** Loads a state into the level that runs. */
export function writeGuestPagingWords(cpu: Cpu, words: Address, state: CompleteGuestPagingState): void {
  const record = recordOf(cpu, words);
  cpu.writeOnce32(record, registersOf(state));
  cpu.writeOnce(offset(record, CR3), BigInt(state.cr3));
}

/** The level that runs: 0 the guest, 1 its nested guest; also its VPID. */
export function readLevel(cpu: Cpu, words: Address): number {
  return cpu.readOnce32(words);
}

/** Switches between the guest and its nested guest; each keeps its registers. */
export function writeLevel(cpu: Cpu, words: Address, level: 0 | 1): void {
  cpu.writeOnce32(words, level);
}
