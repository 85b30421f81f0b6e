import type { Address, Cpu } from "@kvm-age/machine";
import { SECOND_LEVEL_GRANTS } from "../access/rights.js";
import { eptFormat } from "../format/ept-format.js";
import { nptFormat } from "../format/npt-format.js";
import type { PageFormat } from "../format/page-format.js";
import { readCr3, readRegisters } from "../paging/guest-paging-words.js";
import { grantsOf, MODE_NONE, modeNumber, noExecuteEnabled } from "../paging/registers.js";
import type { Tlb } from "../tlb/tlb.js";
import type { GuestFrames } from "../walk/guest-frames.js";
import { GuestWalker } from "../walk/guest-walker.js";
import { LINEAR_LIMITS, linearFormats } from "../walk/linear-formats.js";
import { WALK_NO_ADDRESS } from "../walk/walk-fault.js";
import { Walker } from "../walk/walker.js";
import type { AddressTranslation } from "./address-translation.js";
import type { VcpuHandle } from "./vcpu-handle.js";
import type { VcpuMmu } from "./vcpu-mmu.js";
import { guestPagingOf, statisticsOf } from "./vcpu-state.js";

const PAGE_BYTES = 4096;

/** Guest-physical addresses have at most 52 bits, and at most what the tables span. */
const MAX_GPA_LIMIT = 2 ** 52;

/** Translation over EPT or NPT: of guest-physical addresses, below the guest's own tables if it pages. */
export class TwoDimensionalTranslation implements AddressTranslation {
  faultAddress = 0;
  faultAccess = 0;
  private readonly secondLevel: Walker;
  private readonly guest: GuestWalker;
  private readonly formats: readonly PageFormat[];
  private readonly formatsWithNx: readonly PageFormat[];
  private readonly words: Address;
  private readonly gpaLimit: number;

  constructor(
    { paging, state }: VcpuHandle,
    private readonly mmu: VcpuMmu,
    private readonly tlb: Tlb,
    frames: GuestFrames,
  ) {
    const format = paging.pageFormat === "ept" ? eptFormat(paging) : nptFormat(paging);
    this.words = guestPagingOf(state);
    this.secondLevel = new Walker(format, statisticsOf(state));
    this.guest = new GuestWalker(this.secondLevel, paging, frames, statisticsOf(state));
    this.formats = linearFormats(paging, false);
    this.formatsWithNx = linearFormats(paging, true);
    this.gpaLimit = Math.min(MAX_GPA_LIMIT, this.secondLevel.pages * PAGE_BYTES);
  }

  limit(cpu: Cpu): number {
    const mode = modeNumber(readRegisters(cpu, this.words));
    return mode === MODE_NONE ? this.gpaLimit : LINEAR_LIMITS[mode]!;
  }

  walk(cpu: Cpu, address: number, permission: number): number {
    const registers = readRegisters(cpu, this.words);
    if (modeNumber(registers) !== MODE_NONE) return this.walkBoth(cpu, registers, address, permission);
    if (address >= this.gpaLimit) return WALK_NO_ADDRESS;
    const page = Math.floor(address / PAGE_BYTES);
    const pfn = this.secondLevel.walk(cpu, this.mmu.rootHpa(cpu), page, permission, SECOND_LEVEL_GRANTS);
    if (pfn >= 0) this.tlb.fill(cpu, page, pfn, this.secondLevel);
    this.faultAddress = address;
    this.faultAccess = permission;
    return pfn;
  }

  private walkBoth(cpu: Cpu, registers: number, gva: number, permission: number): number {
    const mode = modeNumber(registers);
    if (gva >= LINEAR_LIMITS[mode]!) return WALK_NO_ADDRESS;
    const formats = noExecuteEnabled(registers) ? this.formatsWithNx : this.formats;
    const pfn = this.guest.walk(cpu, {
      root: this.mmu.rootHpa(cpu),
      cr3: readCr3(cpu, this.words),
      gva,
      permission,
      format: formats[mode]!,
      grants: grantsOf(registers),
    });
    if (pfn >= 0) this.tlb.fill(cpu, Math.floor(gva / PAGE_BYTES), pfn, this.guest);
    this.faultAddress = this.guest.faultGpa;
    this.faultAccess = this.guest.faultAccess;
    return pfn;
  }
}
