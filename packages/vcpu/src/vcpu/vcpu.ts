import { type Address, type Cpu, type FrameAllocator, NULL_ADDRESS } from "@kvm-age/machine";
import { type AccessKind, neededPermission } from "../access/access-kind.js";
import { ACCESS_GUEST_PAGE_FAULT, type AccessResult } from "../access/access-result.js";
import { PERMISSION_ANY_WRITE } from "../access/permission.js";
import { GuestAddressRangeError, GuestLinearAddressError, MisalignedGuestAccessError } from "../errors.js";
import { type LastFault, readLastFault } from "../fault/last-fault.js";
import { type GuestPageFault, readLastGuestFault, writeLastGuestFault } from "../fault/last-guest-fault.js";
import { pageFaultErrorCode } from "../fault/page-fault-error-code.js";
import type { CompleteGuestPagingState, GuestPagingState } from "../paging/guest-paging-state.js";
import { readLevel, readRegisters } from "../paging/guest-paging-words.js";
import { MODE_NONE, modeNumber, reportsFetches } from "../paging/registers.js";
import { type GuestAccessRecorder, noAccessRecorder } from "../recorder/guest-access-recorder.js";
import { type GuestWriteRecorder, noWriteRecorder } from "../recorder/guest-write-recorder.js";
import {
  addStatistic,
  STATISTIC_ACCESSES,
  STATISTIC_GUEST_PAGE_FAULTS,
  STATISTIC_MISSES,
  STATISTIC_WALKS,
} from "../statistics/statistic-words.js";
import { readVcpuStatistics, type VcpuStatistics } from "../statistics/vcpu-statistics.js";
import { type CachedTranslation, Tlb } from "../tlb/tlb.js";
import { GuestFrames } from "../walk/guest-frames.js";
import { WALK_FAULT_GUEST, WALK_NO_ADDRESS, WALK_RACED, walkFaultFlags } from "../walk/walk-fault.js";
import type { AddressTranslation } from "./address-translation.js";
import { FAULT_RETRY, FaultDelivery } from "./fault-delivery.js";
import { GuestMode } from "./guest-mode.js";
import { GuestPaging, type LoadCr3Options } from "./guest-paging.js";
import { noIntercepts } from "./guest-paging-intercepts.js";
import { ShadowTranslation } from "./shadow-translation.js";
import { TwoDimensionalTranslation } from "./two-dimensional-translation.js";
import type { VcpuCollaborators, VcpuHandle } from "./vcpu-handle.js";
import { guestPagingOf, lastFaultOf, lastGuestFaultOf, statisticsOf, tlbOf } from "./vcpu-state.js";

const PAGE_BYTES = 4096;
const VALUE_BYTES = 8;

/**
 * One virtual processor as hardware: it enters and leaves the guest, translates, sets Accessed and Dirty, faults, and
 * acknowledges flushes. It decides nothing about mappings. One thread uses it at a time.
 */
export class Vcpu {
  private readonly writeRecorder: GuestWriteRecorder;
  private readonly accessRecorder: GuestAccessRecorder;
  private readonly tlb: Tlb;
  private readonly guestFrames: GuestFrames;
  private readonly translation: AddressTranslation;
  private readonly guestMode: GuestMode;
  private readonly paging: GuestPaging;
  private readonly faults: FaultDelivery;
  private readonly statisticsAddress: Address;
  private readonly pagingWords: Address;

  /** @param handle of a vCPU made by `allocateVcpu`; use `createVcpu` or `attachVcpu` */
  constructor(
    private readonly frames: FrameAllocator,
    readonly handle: VcpuHandle,
    { mmu, intercepts = noIntercepts, writeRecorder, accessRecorder }: VcpuCollaborators,
  ) {
    const tlb = new Tlb(tlbOf(handle.state), handle.tlb);
    this.tlb = tlb;
    this.writeRecorder = writeRecorder ?? noWriteRecorder;
    this.accessRecorder = accessRecorder ?? noAccessRecorder;
    this.statisticsAddress = statisticsOf(handle.state);
    this.pagingWords = guestPagingOf(handle.state);
    this.guestFrames = new GuestFrames(frames);
    const translation =
      handle.paging.pageFormat === "shadow"
        ? new ShadowTranslation(handle, mmu, tlb)
        : new TwoDimensionalTranslation(handle, mmu, tlb, this.guestFrames);
    this.translation = translation;
    const guestMode = new GuestMode(handle, mmu, tlb);
    this.guestMode = guestMode;
    this.paging = new GuestPaging(handle, { tlb, guestMode, translation, intercepts });
    this.faults = new FaultDelivery(handle, mmu);
  }

  /**
   * One guest access to the page at `address`, from the instruction that makes it to the translation it uses: enters the
   * guest if the vCPU is outside or was interrupted, looks into the TLB, walks, and on a fault leaves the guest, has the
   * MMU handle it and tries again, as often as the MMU says "retry". Only the MMU's answers end that: a guest repeats a
   * faulting instruction for ever, too. Every turn serves the requests that came meanwhile. A fault in the guest's own page
   * tables is the guest's: it ends the access without an exit.
   *
   * Afterwards the vCPU is still inside the guest, so a flusher waits for its next `access` or `exitGuest`: until then
   * the caller may touch the page's content. A vCPU that has nothing to do must `exitGuest`.
   *
   * @param address in bytes, an integer; the page offset does not matter. Guest-linear if the guest pages or runs over shadow
   *   tables: in [0, 2^47), or 2^53 with five levels, 2^32 with PAE paging or over shadow tables without paging. Otherwise
   *   guest-physical, in [0, 2^48), or 2^52 with five levels
   * @returns host pfn, or `ACCESS_EMULATE` or `ACCESS_FAILED` (then outside the guest), or `ACCESS_GUEST_PAGE_FAULT`
   * @throws GuestAddressRangeError, GuestLinearAddressError, RootNotLoadedError, NothingToInjectError
   */
  access(cpu: Cpu, address: number, kind: AccessKind): AccessResult {
    if (!(Number.isSafeInteger(address) && address >= 0)) this.refuse(cpu, address);
    if (!this.guestMode.isInside(cpu)) this.guestMode.reenter(cpu);
    addStatistic(cpu, this.statisticsAddress, STATISTIC_ACCESSES);
    const page = Math.floor(address / PAGE_BYTES);
    const permission = neededPermission(kind);
    const cached = this.tlb.lookup(cpu, page, permission);
    const result = cached >= 0 ? cached : this.accessByWalk(cpu, address, permission);
    if (result >= 0) {
      this.accessRecorder.recordAccess(cpu, page);
      if ((permission & PERMISSION_ANY_WRITE) !== 0) this.writeRecorder.recordWrite(cpu, page);
    }
    return result;
  }

  /**
   * A guest's load of eight bytes: `access`, then one load of the word, still inside the guest. A page without bytes (a
   * host frame outside the arena) reads as 0.
   *
   * @param address as for `access`, a multiple of 8
   * @returns the value; null if the access failed: what `access` returns says how, `lastFault` and `lastGuestFault` why
   * @throws MisalignedGuestAccessError, and what `access` throws
   */
  load(cpu: Cpu, address: number, kind: "read" | "user-read" = "read"): bigint | null {
    const pfn = this.accessAligned(cpu, address, kind);
    if (pfn < 0) return null;
    const word = this.guestFrames.byteOf(pfn, address);
    return word === NULL_ADDRESS ? 0n : cpu.readOnce(word);
  }

  /**
   * A guest's store of eight bytes: `access`, then one store of the word, still inside the guest, so that whoever takes write
   * permission away and flushes finds it done or not begun. What is written to a page without bytes is dropped.
   *
   * @param address as for `access`, a multiple of 8
   * @param value in [0, 2^64)
   * @returns as `access`; after `ACCESS_EMULATE` nothing is stored, the write is the emulator's
   * @throws MisalignedGuestAccessError, and what `access` throws
   */
  store(cpu: Cpu, address: number, value: bigint, kind: "write" | "user-write" = "write"): AccessResult {
    const pfn = this.accessAligned(cpu, address, kind);
    const word = pfn < 0 ? NULL_ADDRESS : this.guestFrames.byteOf(pfn, address);
    if (word !== NULL_ADDRESS) cpu.writeOnce(word, value);
    return pfn;
  }

  /**
   * A guest's LOCK CMPXCHG of eight bytes, as a kernel changes an entry of its page tables under processors that set flags
   * in it. Losing to them is the guest's to see: nothing is stored then.
   *
   * @param address as for `access`, a multiple of 8
   * @returns the value found, equal to `expected` if `replacement` was stored (0 for a page without bytes); null if the
   *   access failed, as `load`
   * @throws MisalignedGuestAccessError, and what `access` throws
   */
  compareExchange(cpu: Cpu, address: number, expected: bigint, replacement: bigint): bigint | null {
    const pfn = this.accessAligned(cpu, address, "write");
    if (pfn < 0) return null;
    const word = this.guestFrames.byteOf(pfn, address);
    return word === NULL_ADDRESS ? 0n : cpu.cmpxchg(word, expected, replacement, "full");
  }

  /**
   * MOV to CR0, CR3, CR4 and EFER in one. Drops the guest's translations of every PCID; over shadow tables it exits.
   *
   * @throws InvalidGuestPagingError
   */
  setGuestPaging(cpu: Cpu, state: GuestPagingState): void {
    this.paging.set(cpu, state);
  }

  /** The paging registers, of the guest or the nested guest, whichever runs. */
  guestPaging(cpu: Cpu): CompleteGuestPagingState {
    return this.paging.read(cpu);
  }

  /**
   * MOV to CR3. Without PCIDs it drops the guest's translations; with them it goes over to those of `pcid`, and drops them unless
   * `noFlush`. Over shadow tables it exits.
   *
   * @param cr3 guest-physical address of the root table
   * @throws InvalidGuestPagingError
   */
  loadCr3(cpu: Cpu, cr3: number, options: LoadCr3Options = {}): void {
    this.paging.loadCr3(cpu, cr3, options);
  }

  /**
   * INVLPG: drops the translations of the page at an address, under the current PCID. Over shadow tables it exits.
   *
   * @throws GuestLinearAddressError
   */
  invlpg(cpu: Cpu, gva: number): void {
    this.paging.invlpg(cpu, gva);
  }

  /** INVPCID of all contexts: drops the guest's translations of every PCID. Over shadow tables it exits. */
  flushGuestTlb(cpu: Cpu): void {
    this.paging.flushAll(cpu);
  }

  /**
   * VM entry of the nested guest (L2): its registers and its VPID from now on. Leaves the guest first. Which root the next
   * entry uses is the MMU's to say.
   *
   * @param state registers that the entry loads; null: those it had
   * @throws InvalidGuestPagingError
   */
  enterL2(cpu: Cpu, state: GuestPagingState | null = null): void {
    this.paging.switchLevel(cpu, 1, state);
  }

  /** VM exit of the nested guest, back to the registers and translations of the guest (L1). Leaves the guest first. */
  exitL2(cpu: Cpu): void {
    this.paging.switchLevel(cpu, 0, null);
  }

  /** `is_guest_mode`: whether the nested guest runs. */
  isGuestMode(cpu: Cpu): boolean {
    return readLevel(cpu, this.pagingWords) !== 0;
  }

  /** Leaves the guest; a flusher no longer waits for this vCPU. Harmless outside. */
  exitGuest(cpu: Cpu): void {
    this.guestMode.exit(cpu);
  }

  /** Drops all cached translations (`flush_tlb_current`). For the MMU's request handlers; outside the guest. */
  flushTlb(cpu: Cpu): void {
    this.tlb.contexts.dropAll(cpu);
  }

  /** Drops the current context's translations of one guest-linear page (`flush_tlb_gva`). For the MMU; outside the guest. */
  flushTlbGva(cpu: Cpu, gva: number): void {
    this.tlb.invalidateGuestPage(cpu, Math.floor(gva / PAGE_BYTES));
  }

  /** Every translation that is cached, of all contexts: for checkers, while nobody uses the vCPU. */
  cachedTranslations(cpu: Cpu): CachedTranslation[] {
    return this.tlb.cached(cpu);
  }

  /** The fault delivered to the MMU last, null if there was none. */
  lastFault(cpu: Cpu): LastFault | null {
    return readLastFault(cpu, lastFaultOf(this.handle.state));
  }

  /** The page fault that the guest took last, null if there was none. */
  lastGuestFault(cpu: Cpu): GuestPageFault | null {
    return readLastGuestFault(cpu, lastGuestFaultOf(this.handle.state));
  }

  statistics(cpu: Cpu): VcpuStatistics {
    return readVcpuStatistics(cpu, this.statisticsAddress);
  }

  /** Leaves the guest and frees the vCPU's words. Its place in the flush domain stays taken, outside the guest. */
  destroy(cpu: Cpu): void {
    this.exitGuest(cpu);
    this.frames.freeSpan(cpu, this.handle.state);
  }

  private accessAligned(cpu: Cpu, address: number, kind: AccessKind): AccessResult {
    if (address % VALUE_BYTES !== 0) throw new MisalignedGuestAccessError(address);
    return this.access(cpu, address, kind);
  }

  private accessByWalk(cpu: Cpu, address: number, permission: number): AccessResult {
    addStatistic(cpu, this.statisticsAddress, STATISTIC_MISSES);
    for (;;) {
      const found = this.walk(cpu, address, permission);
      if (found >= 0) return found;
      // Found out by walks only: nothing is cached of such an address.
      if (found === WALK_NO_ADDRESS) this.refuse(cpu, address);
      const outcome = this.fault(cpu, address, permission, walkFaultFlags(found));
      if (outcome !== FAULT_RETRY) return outcome;
      this.guestMode.enter(cpu);
    }
  }

  /** Walks until no entry changes under the walk. Whoever changed it got on with its work, so some processor always does. */
  private walk(cpu: Cpu, address: number, permission: number): number {
    for (;;) {
      addStatistic(cpu, this.statisticsAddress, STATISTIC_WALKS);
      const found = this.translation.walk(cpu, address, permission);
      if (found !== WALK_RACED) return found;
    }
  }

  private fault(cpu: Cpu, address: number, permission: number, flags: number): number {
    const { faultAddress, faultAccess } = this.translation;
    // A fault takes the translations of its address along (SDM vol. 3, "Operations that invalidate cached mappings"), so a
    // stale one cannot come back after it.
    this.tlb.invalidate(cpu, Math.floor(address / PAGE_BYTES));
    if ((flags & WALK_FAULT_GUEST) !== 0) return this.faultGuest(cpu, address, permission, flags);
    this.guestMode.exit(cpu);
    return this.faults.deliver(cpu, faultAddress, faultAccess, flags);
  }

  /** A #PF through the guest's own descriptor table: no exit. */
  private faultGuest(cpu: Cpu, gva: number, permission: number, flags: number): AccessResult {
    const fetches = reportsFetches(readRegisters(cpu, this.pagingWords));
    const errorCode = pageFaultErrorCode(permission, flags, fetches);
    writeLastGuestFault(cpu, lastGuestFaultOf(this.handle.state), { gva, errorCode });
    addStatistic(cpu, this.statisticsAddress, STATISTIC_GUEST_PAGE_FAULTS);
    return ACCESS_GUEST_PAGE_FAULT;
  }

  /** Leaves the guest, so that no flusher waits for a caller that has given up. */
  private refuse(cpu: Cpu, address: number): never {
    this.guestMode.exit(cpu);
    const limit = this.translation.limit(cpu);
    const physical =
      this.handle.paging.pageFormat !== "shadow" &&
      modeNumber(readRegisters(cpu, this.pagingWords)) === MODE_NONE;
    throw physical ? new GuestAddressRangeError(address, limit) : new GuestLinearAddressError(address, limit);
  }
}
