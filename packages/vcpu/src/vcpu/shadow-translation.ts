import type { Address, Cpu } from "@kvm-age/machine";
import { readRegisters } from "../paging/guest-paging-words.js";
import { grantsOf, modeNumber, shadowRegisters } from "../paging/registers.js";
import type { Tlb } from "../tlb/tlb.js";
import { LINEAR_LIMITS, linearFormats } from "../walk/linear-formats.js";
import { WALK_NO_ADDRESS } from "../walk/walk-fault.js";
import { Walker } from "../walk/walker.js";
import type { AddressTranslation } from "./address-translation.js";
import type { VcpuHandle } from "./vcpu-handle.js";
import type { VcpuMmu } from "./vcpu-mmu.js";
import { guestPagingOf, statisticsOf } from "./vcpu-state.js";

const PAGE_BYTES = 4096;

/**
 * Translation in one dimension, over shadow tables: x86 tables in host-physical memory, walked by the guest-linear address. The
 * guest's paging mode decides how many levels they have; its CR3 plays no part.
 */
export class ShadowTranslation implements AddressTranslation {
  faultAddress = 0;
  faultAccess = 0;
  private readonly walkers: readonly Walker[];
  private readonly words: Address;

  constructor(
    { paging, state }: VcpuHandle,
    private readonly mmu: VcpuMmu,
    private readonly tlb: Tlb,
  ) {
    this.words = guestPagingOf(state);
    this.walkers = linearFormats(paging, true).map((format) => new Walker(format, statisticsOf(state)));
  }

  limit(cpu: Cpu): number {
    return LINEAR_LIMITS[modeNumber(readRegisters(cpu, this.words))]!;
  }

  walk(cpu: Cpu, address: number, permission: number): number {
    const registers = shadowRegisters(readRegisters(cpu, this.words));
    const mode = modeNumber(registers);
    if (address >= LINEAR_LIMITS[mode]!) return WALK_NO_ADDRESS;
    const walker = this.walkers[mode]!;
    const page = Math.floor(address / PAGE_BYTES);
    const pfn = walker.walk(cpu, this.mmu.rootHpa(cpu), page, permission, grantsOf(registers));
    if (pfn >= 0) this.tlb.fill(cpu, page, pfn, walker);
    this.faultAddress = address;
    this.faultAccess = permission;
    return pfn;
  }
}
