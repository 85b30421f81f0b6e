import type { Address, Cpu } from "@kvm-age/machine";
import { GuestLinearAddressError, InvalidGuestPagingError } from "../errors.js";
import {
  type CompleteGuestPagingState,
  completeGuestPaging,
  type GuestPagingState,
} from "../paging/guest-paging-state.js";
import {
  readGuestPagingWords,
  readLevel,
  readRegisters,
  writeGuestPagingWords,
  writeLevel,
} from "../paging/guest-paging-words.js";
import { grantTheSame } from "../paging/registers.js";
import type { Tlb } from "../tlb/tlb.js";
import type { AddressTranslation } from "./address-translation.js";
import type { GuestMode } from "./guest-mode.js";
import type { GuestPagingIntercepts } from "./guest-paging-intercepts.js";
import type { VcpuHandle } from "./vcpu-handle.js";
import { guestPagingOf } from "./vcpu-state.js";

const PAGE_BYTES = 4096;

/** How `loadCr3` loads. */
export interface LoadCr3Options {
  /** Bits 11:0 of the register under CR4.PCIDE. @default 0 */
  readonly pcid?: number;
  /** Bit 63 of the operand, under CR4.PCIDE only: translations of the PCID survive. @default false */
  readonly noFlush?: boolean;
}

/** What a `GuestPaging` works with. */
export interface GuestPagingParts {
  readonly tlb: Tlb;
  readonly guestMode: GuestMode;
  readonly translation: AddressTranslation;
  readonly intercepts: GuestPagingIntercepts;
}

/**
 * The guest's instructions that change how its addresses are translated. Over shadow tables each of them exits; over EPT and NPT
 * the hardware does what there is to do (Intel SDM vol. 3, "Operations that invalidate TLBs and paging-structure
 * caches").
 */
export class GuestPaging {
  private readonly words: Address;
  private readonly exits: boolean;

  constructor(
    private readonly handle: VcpuHandle,
    private readonly parts: GuestPagingParts,
  ) {
    this.words = guestPagingOf(handle.state);
    this.exits = handle.paging.pageFormat === "shadow";
  }

  read(cpu: Cpu): CompleteGuestPagingState {
    return readGuestPagingWords(cpu, this.words);
  }

  /** CR0, CR3, CR4 and EFER at once. Drops the translations of every PCID, which a processor may do at any time. */
  set(cpu: Cpu, state: GuestPagingState): void {
    const complete = completeGuestPaging(state, this.handle.paging);
    this.exitIfIntercepted(cpu);
    writeGuestPagingWords(cpu, this.words, complete);
    const { contexts } = this.parts.tlb;
    const vpid = readLevel(cpu, this.words);
    contexts.dropVpid(cpu, vpid);
    contexts.switchTo(cpu, vpid, complete.pcid);
    if (this.exits) this.parts.intercepts.pagingChanged(cpu);
  }

  loadCr3(cpu: Cpu, cr3: number, { pcid = 0, noFlush = false }: LoadCr3Options): void {
    const state = completeGuestPaging({ ...this.read(cpu), cr3, pcid }, this.handle.paging);
    if (noFlush && !state.cr4Pcide)
      throw new InvalidGuestPagingError("noFlush", "true", "false without cr4Pcide");
    this.exitIfIntercepted(cpu);
    writeGuestPagingWords(cpu, this.words, state);
    const { contexts } = this.parts.tlb;
    contexts.switchTo(cpu, readLevel(cpu, this.words), pcid);
    if (this.exits) this.parts.intercepts.loadCr3(cpu, noFlush);
    else if (!noFlush) contexts.dropCurrent(cpu);
  }

  invlpg(cpu: Cpu, gva: number): void {
    const limit = this.parts.translation.limit(cpu);
    if (!(Number.isInteger(gva) && gva >= 0 && gva < limit)) throw new GuestLinearAddressError(gva, limit);
    this.exitIfIntercepted(cpu);
    if (this.exits) this.parts.intercepts.invlpg(cpu, gva);
    else this.parts.tlb.invalidateGuestPage(cpu, Math.floor(gva / PAGE_BYTES));
  }

  flushAll(cpu: Cpu): void {
    this.exitIfIntercepted(cpu);
    if (this.exits) this.parts.intercepts.flushGuestTlb(cpu);
    else this.parts.tlb.contexts.dropVpid(cpu, readLevel(cpu, this.words));
  }

  /** Loads the other level's registers, or new ones. Each level has a VPID, so its translations wait for it. */
  switchLevel(cpu: Cpu, level: 0 | 1, state: GuestPagingState | null): void {
    const complete = state === null ? null : completeGuestPaging(state, this.handle.paging);
    this.parts.guestMode.exit(cpu);
    writeLevel(cpu, this.words, level);
    if (complete !== null) this.replace(cpu, level, complete);
    this.parts.tlb.contexts.switchTo(cpu, level, this.read(cpu).pcid);
  }

  /**
   * The registers of a VM entry. They do not flush by themselves (that is what VPIDs are for), but what was cached under other
   * controls would not be what the new ones grant.
   */
  private replace(cpu: Cpu, level: 0 | 1, state: CompleteGuestPagingState): void {
    const before = readRegisters(cpu, this.words);
    writeGuestPagingWords(cpu, this.words, state);
    if (!grantTheSame(before, readRegisters(cpu, this.words))) this.parts.tlb.contexts.dropVpid(cpu, level);
  }

  /** Leaves the guest before anybody hears of the instruction: an exit. The next access enters again. */
  private exitIfIntercepted(cpu: Cpu): void {
    if (this.exits) this.parts.guestMode.exit(cpu);
  }
}

/** The paging registers that a vCPU runs with, of the guest or of its nested guest, for code that has no `Vcpu`. */
export function readGuestPaging(cpu: Cpu, handle: VcpuHandle): CompleteGuestPagingState {
  return readGuestPagingWords(cpu, guestPagingOf(handle.state));
}
