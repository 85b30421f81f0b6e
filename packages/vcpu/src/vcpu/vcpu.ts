import type { Address, Cpu, FrameAllocator } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { type AccessKind, neededPermission } from "../access/access-kind.js";
import type { AccessResult } from "../access/access-result.js";
import { GuestAddressRangeError } from "../errors.js";
import { type LastFault, readLastFault } from "../fault/last-fault.js";
import { eptFormat } from "../format/ept-format.js";
import { nptFormat } from "../format/npt-format.js";
import { type GuestAccessRecorder, noAccessRecorder } from "../recorder/guest-access-recorder.js";
import { type GuestWriteRecorder, noWriteRecorder } from "../recorder/guest-write-recorder.js";
import { addStatistic, STATISTIC_ACCESSES, STATISTIC_MISSES } from "../statistics/statistic-words.js";
import { readVcpuStatistics, type VcpuStatistics } from "../statistics/vcpu-statistics.js";
import { Tlb } from "../tlb/tlb.js";
import { walkFaultFlags } from "../walk/walk-fault.js";
import { Walker } from "../walk/walker.js";
import { FAULT_RETRY, FaultDelivery } from "./fault-delivery.js";
import { GuestMode } from "./guest-mode.js";
import type { VcpuCollaborators, VcpuHandle } from "./vcpu-handle.js";
import type { VcpuMmu } from "./vcpu-mmu.js";
import { lastFaultOf, statisticsOf, tlbOf } from "./vcpu-state.js";

const PAGE_BYTES = 4096;

/** Guest-physical addresses have at most 52 bits, and at most what the tables span. */
const MAX_GPA_BITS = 52;

/**
 * One virtual processor as hardware: it enters and leaves the guest, translates, sets Accessed and Dirty, faults, and
 * acknowledges flushes. It decides nothing about mappings. One thread uses it at a time.
 */
export class Vcpu {
  private readonly mmu: VcpuMmu;
  private readonly writeRecorder: GuestWriteRecorder;
  private readonly accessRecorder: GuestAccessRecorder;
  private readonly tlb: Tlb;
  private readonly walker: Walker;
  private readonly guestMode: GuestMode;
  private readonly faults: FaultDelivery;
  private readonly statisticsAddress: Address;
  private readonly gpaLimit: number;

  /** @param handle of a vCPU made by `allocateVcpu`; use `createVcpu` or `attachVcpu` */
  constructor(
    private readonly frames: FrameAllocator,
    readonly handle: VcpuHandle,
    collaborators: VcpuCollaborators,
  ) {
    const { paging, state } = handle;
    this.mmu = collaborators.mmu;
    this.writeRecorder = collaborators.writeRecorder ?? noWriteRecorder;
    this.accessRecorder = collaborators.accessRecorder ?? noAccessRecorder;
    this.statisticsAddress = statisticsOf(state);
    this.tlb = new Tlb(tlbOf(state), handle.tlb);
    const format = paging.pageFormat === "ept" ? eptFormat(paging) : nptFormat(paging);
    this.walker = new Walker(format, paging.rootLevel, this.tlb, this.statisticsAddress);
    this.guestMode = new GuestMode(handle, this.mmu, this.tlb);
    this.faults = new FaultDelivery(handle, this.mmu);
    this.gpaLimit = 2 ** Math.min(MAX_GPA_BITS, 12 + 9 * paging.rootLevel);
  }

  /**
   * One guest access to the page at `gpa`, from the instruction that makes it to the translation it uses: enters the
   * guest if the vCPU is outside or was interrupted, looks into the TLB, walks, and on a fault leaves the guest, has the
   * MMU handle it and tries again, as often as the MMU says "retry". Only the MMU's answers end that: a guest repeats a
   * faulting instruction for ever, too. Every turn serves the requests that came meanwhile.
   *
   * Afterwards the vCPU is still inside the guest, so a flusher waits for its next `access` or `exitGuest`: until then
   * the caller may touch the page's content. A vCPU that has nothing to do must `exitGuest`.
   *
   * @param gpa guest-physical address in bytes, an integer in [0, 2^48), or 2^52 with five levels; the page offset does
   *   not matter
   * @returns host pfn, or `ACCESS_EMULATE` or `ACCESS_FAILED` (then outside the guest)
   * @throws GuestAddressRangeError, RootNotLoadedError
   */
  access(cpu: Cpu, gpa: number, kind: AccessKind): AccessResult {
    if (!(Number.isInteger(gpa) && gpa >= 0 && gpa < this.gpaLimit))
      throw new GuestAddressRangeError(gpa, this.gpaLimit);
    if (!this.guestMode.isInside(cpu)) this.guestMode.reenter(cpu);
    addStatistic(cpu, this.statisticsAddress, STATISTIC_ACCESSES);
    const gfn = Math.floor(gpa / PAGE_BYTES) as Gfn;
    const permission = neededPermission(kind);
    const cached = this.tlb.lookup(cpu, gfn, permission);
    const result = cached >= 0 ? cached : this.accessByWalk(cpu, gpa, gfn, kind, permission);
    if (result >= 0) {
      this.accessRecorder.recordAccess(cpu, gfn);
      if (kind === "write") this.writeRecorder.recordWrite(cpu, gfn);
    }
    return result;
  }

  /** Leaves the guest; a flusher no longer waits for this vCPU. Harmless outside. */
  exitGuest(cpu: Cpu): void {
    this.guestMode.exit(cpu);
  }

  /** Drops all cached translations (`flush_tlb_current`). For the MMU's request handlers; outside the guest. */
  flushTlb(cpu: Cpu): void {
    this.tlb.flush(cpu);
  }

  /** The fault delivered last, null if there was none. */
  lastFault(cpu: Cpu): LastFault | null {
    return readLastFault(cpu, lastFaultOf(this.handle.state));
  }

  statistics(cpu: Cpu): VcpuStatistics {
    return readVcpuStatistics(cpu, this.statisticsAddress);
  }

  /** Leaves the guest and frees the vCPU's words. Its place in the flush domain stays taken, outside the guest. */
  destroy(cpu: Cpu): void {
    this.exitGuest(cpu);
    this.frames.freeSpan(cpu, this.handle.state);
  }

  private accessByWalk(cpu: Cpu, gpa: number, gfn: Gfn, kind: AccessKind, permission: number): AccessResult {
    addStatistic(cpu, this.statisticsAddress, STATISTIC_MISSES);
    for (;;) {
      const found = this.walker.walk(cpu, this.mmu.rootHpa(cpu), gfn, permission);
      if (found >= 0) return found;
      // A violation takes the translations of its address along (SDM vol. 3, "Operations that invalidate cached
      // mappings"), so a stale one cannot come back after the fault.
      this.tlb.invalidate(cpu, gfn);
      this.guestMode.exit(cpu);
      const outcome = this.faults.deliver(cpu, gpa, kind, walkFaultFlags(found));
      if (outcome !== FAULT_RETRY) return outcome;
      this.guestMode.enter(cpu);
    }
  }
}
