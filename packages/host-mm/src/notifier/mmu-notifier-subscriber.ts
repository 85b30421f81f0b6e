import type { Cpu } from "@kvm-age/machine";
import type { MmuNotifierRange } from "./mmu-notifier-range.js";

/**
 * Who holds translations of its own for the address space, such as KVM (kernel `struct mmu_notifier_ops`). One object per
 * thread, registered with `MmuNotifierChain.register`; what it refers to lives in the arena.
 *
 * All addresses are host virtual, in bytes; ranges exclude their end and need not be page-aligned. Calls come inside
 * an SRCU read section; the three aging calls also come under a page-table lock, so they must not sleep.
 */
export interface MmuNotifierSubscriber {
  /** A change of the range begins: drop its translations and install none until the matching end. */
  invalidateRangeStart(cpu: Cpu, range: MmuNotifierRange): void;
  /** The change is done. Called once for every start, with an equal range. */
  invalidateRangeEnd(cpu: Cpu, range: MmuNotifierRange): void;
  /** Test and clear Accessed in the range; stale remote translations are to be flushed if the answer is true. */
  clearFlushYoung(cpu: Cpu, start: number, end: number): boolean;
  /** Test and clear Accessed in the range, without a flush. */
  clearYoung(cpu: Cpu, start: number, end: number): boolean;
  /** Test Accessed at one address; changes nothing. */
  testYoung(cpu: Cpu, address: number): boolean;
  /** The address space is going away: drop everything. Called once. */
  release(cpu: Cpu): void;
}
