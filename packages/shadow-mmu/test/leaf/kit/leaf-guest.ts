import {
  type Address,
  type Cpu,
  type FlushDomain,
  flushDomainBytes,
  type LockdepCpu,
  LockGraph,
  memberCountWord,
  offset,
  ThreadMachine,
  withAddressSanitizer,
  withLockdep,
} from "@kvm-age/machine";
import {
  createMemslots,
  type Hva,
  KVM_FILTER_SHARED,
  type KvmGfnRange,
  kvmGetDirtyLog,
  kvmMmuInvalidateEnd,
  kvmMmuInvalidateRangeAdd,
  kvmMmuInvalidateStart,
  kvmSetMemoryRegion,
  type Memslots,
  type SecondaryMmu,
  type Slot,
  slotDirtyBitmap,
} from "@kvm-age/memslot";
import type { RetPf } from "@kvm-age/page-fault";
import {
  createSpteFormat,
  type Gfn,
  linux73,
  PFERR_PRESENT_MASK,
  PFERR_WRITE_MASK,
  type RuleSet,
  type Spte,
  type SpteFormat,
} from "@kvm-age/spte";
import { expect } from "vitest";
import { kvmShadowAgeGfn, kvmShadowTestAgeGfn } from "../../../src/aging/kvm-shadow-age-gfn.js";
import { checkShadowSpteInvariants } from "../../../src/check/check-shadow-spte-invariants.js";
import { createShadowMmu } from "../../../src/create-shadow-mmu.js";
import {
  kvmShadowMmuEnableLogDirtyPtMasked,
  kvmShadowMmuSlotDisableDirtyLogging,
  kvmShadowMmuSlotEnableDirtyLogging,
} from "../../../src/dirty/slot-dirty-logging.js";
import { kvmShadowMmuPageFault } from "../../../src/fault/kvm-shadow-mmu-page-fault.js";
import type { ShadowFaultResult } from "../../../src/fault/shadow-fault-result.js";
import { kvmMmuLoad } from "../../../src/root/kvm-mmu-load.js";
import type { ShadowMmu } from "../../../src/shadow-mmu.js";
import type { ShadowMmuOptions } from "../../../src/shadow-mmu-options.js";
import { kvmInitMmu } from "../../../src/vcpu/kvm-init-mmu.js";
import { createShadowMmuVcpu, type ShadowMmuVcpu } from "../../../src/vcpu/shadow-mmu-vcpu.js";
import { ShadowWalkIterator } from "../../../src/walk/shadow-walk-iterator.js";
import { kvmMmuZapAll } from "../../../src/zap/kvm-mmu-zap-all.js";
import { kvmShadowZapAllFast } from "../../../src/zap/kvm-mmu-zap-all-fast.js";
import { kvmShadowUnmapGfnRange } from "../../../src/zap/kvm-shadow-unmap-gfn-range.js";
import { ByteHost, HOST_BASE } from "../../guest/kit/byte-host.js";
import { longMode } from "../../guest/kit/registers.js";

export interface LeafGuestInit {
  /** `shadow` is a guest with paging off. @default "ept" */
  readonly mode?: "ept" | "npt" | "shadow";
  readonly adBits?: boolean;
  readonly ruleSet?: RuleSet;
  readonly options?: Partial<ShadowMmuOptions>;
  /** @default 2048 */
  readonly slotPages?: number;
  /** First gfn of the slot. @default SLOT_GFN */
  readonly slotGfn?: number;
  /** The TDP MMU is on, so that this MMU serves L2 only; no context is set up. */
  readonly tdpMmuEnabled?: boolean;
  /** Pages with bytes, from gfn 0 on, in slot 1. @default none */
  readonly backedPages?: number;
  readonly dirtyLogInitiallySet?: boolean;
  readonly mmioCaching?: boolean;
  /** No validator and no sanitizer: every access is the machine's own. */
  readonly bare?: boolean;
}

export const SLOT_GFN = 0x40000 as Gfn;
export const READ = 0;
export const WRITE = PFERR_WRITE_MASK;
export const PRESENT = PFERR_PRESENT_MASK;
const MEMBERS = 4;

/** One VM with one vCPU and one slot, whose guest-physical addresses are mapped linearly, under the lock validator. */
export class LeafGuest {
  readonly machine: ThreadMachine;
  readonly cpu: Cpu;
  readonly host: ByteHost;
  readonly format: SpteFormat;
  readonly memslots: Memslots;
  readonly flushDomain: FlushDomain;
  readonly mmu: ShadowMmu;
  readonly vcpu: ShadowMmuVcpu;
  readonly arch: SecondaryMmu;
  readonly slotGfn: number;
  private readonly graph = new LockGraph();
  private readonly init: LeafGuestInit;

  constructor(init: LeafGuestInit = {}) {
    this.init = init;
    this.machine = ThreadMachine.create({ arenaBytes: 64 << 20, maxCpus: MEMBERS });
    this.cpu = this.attach();
    const { cpu, machine } = this;
    const mode = init.mode ?? "ept";
    const ruleSet = init.ruleSet ?? linux73;
    this.format = createSpteFormat({
      mode,
      ruleSet,
      ...(mode === "ept" ? { adBits: init.adBits ?? true } : {}),
      mmioCaching: init.mmioCaching ?? true,
    });
    this.memslots = createMemslots(cpu, machine, {
      maxGfn: (2 ** 34 - 1) as Gfn,
      tdpMmuEnabled: init.tdpMmuEnabled ?? false,
      tdpEnabled: mode !== "shadow",
      dirtyLogManualProtect: init.dirtyLogInitiallySet ?? false,
      dirtyLogInitiallySet: init.dirtyLogInitiallySet ?? false,
    });
    this.flushDomain = {
      address: machine.frames.allocateSpan(cpu, flushDomainBytes(MEMBERS)),
      maxMembers: MEMBERS,
    };
    cpu.writeOnce32(memberCountWord(this.flushDomain), MEMBERS);
    this.host = new ByteHost(cpu, machine, init.backedPages ?? 0);
    this.host.prefetchable = false;
    this.mmu = createShadowMmu(cpu, machine, this, {
      format: this.format,
      options: init.options ?? {},
    });
    // Room for every table of a test: the quota follows the slots, and these are small.
    cpu.writeOnce32(this.mmu.nMaxMmuPagesWord, 4096);
    this.vcpu = createShadowMmuVcpu(this.mmu, cpu, 0);
    this.arch = archOf(this.mmu);
    this.slotGfn = init.slotGfn ?? SLOT_GFN;
    if (init.backedPages !== undefined) this.setRegion(1, 0, init.backedPages, 0);
    this.setSlot(0);
    if (init.tdpMmuEnabled !== true) this.load();
  }

  /** Another processor, checked like the first. */
  attach(): Cpu {
    const raw = this.machine.attach();
    if (this.init.bare === true) return raw;
    return withLockdep(this.graph)(withAddressSanitizer(this.machine.frames)(raw));
  }

  /** Sets the linear context up and gives it a root. */
  load(vcpu: ShadowMmuVcpu = this.vcpu): void {
    kvmInitMmu(this.mmu, this.cpu, vcpu, longMode({ cr0Pg: this.mmu.tdpEnabled }));
    this.inSrcu(this.cpu, () => expect(kvmMmuLoad(this.mmu, this.cpu, vcpu)).toBe(true));
  }

  inSrcu<Result>(cpu: Cpu, body: () => Result): Result {
    const index = cpu.srcuReadLock(this.memslots.locks.srcu);
    const result = body();
    cpu.srcuReadUnlock(this.memslots.locks.srcu, index);
    return result;
  }

  underWriteLock<Result>(cpu: Cpu, body: () => Result): Result {
    cpu.writeLock(this.mmu.mmuLock);
    const result = body();
    cpu.writeUnlock(this.mmu.mmuLock);
    return result;
  }

  underSlotsLock<Result>(cpu: Cpu, body: () => Result): Result {
    cpu.mutexLock(this.memslots.locks.slotsLock);
    const result = body();
    cpu.mutexUnlock(this.memslots.locks.slotsLock);
    return result;
  }

  /** Zaps every page, as when the VM goes. */
  zapAll(cpu: Cpu = this.cpu): void {
    this.inSrcu(cpu, () => this.arch.flushShadowAll(cpu));
  }

  /** Creates slot 0, or changes its flags. */
  setSlot(flags: number): void {
    this.setRegion(0, this.slotGfn, this.init.slotPages ?? 2048, flags);
  }

  /** `KVM_SET_USER_MEMORY_REGION` in pages; the owner maps gfn 0 at `HOST_BASE`, and so on. */
  setRegion(slot: number, gfn: number, pages: number, flags: number): void {
    kvmSetMemoryRegion(this.memslots, this.cpu, this.arch, {
      slot,
      flags,
      guestPhysAddr: gfn * 4096,
      memorySize: pages * 4096,
      userspaceAddr: (HOST_BASE + gfn * 4096) as Hva,
    });
  }

  get slot(): Slot {
    return this.memslots.gfnToMemslot(this.cpu, 0, this.slotGfn as Gfn);
  }

  gfn(page: number): Gfn {
    return (this.slotGfn + page) as Gfn;
  }

  range(start: number, end: number, mayBlock = false): KvmGfnRange {
    return {
      slot: this.slot,
      start: this.gfn(start),
      end: this.gfn(end),
      mayBlock,
      lockless: true,
      attrFilter: KVM_FILTER_SHARED,
    };
  }

  /** A fault on page `page` of the slot; the error code follows from what the entry holds. */
  fault(page: number, write: boolean, cpu: Cpu = this.cpu): RetPf {
    const present = (this.spte(page) & 0x7n) !== 0n ? PRESENT : 0;
    return this.faultWithCode(page, present | (write ? WRITE : 0), cpu).ret;
  }

  faultWithCode(page: number, code: number, cpu: Cpu = this.cpu, vcpu = this.vcpu): ShadowFaultResult {
    const addr = (this.slotGfn + page) * 4096;
    return this.inSrcu(cpu, () => kvmShadowMmuPageFault(this.mmu, cpu, vcpu, addr, BigInt(code)));
  }

  /** Every entry on the path of a page, from the root down. */
  path(page: number): { spte: Spte; level: number; sptep: Address }[] {
    const found: { spte: Spte; level: number; sptep: Address }[] = [];
    const context = this.vcpu.current(this.cpu);
    const iterator = new ShadowWalkIterator(this.mmu, (this.slotGfn + page) * 4096);
    iterator.start(this.cpu, context, context.rootHpa(this.cpu));
    while (iterator.okay()) {
      const spte = this.cpu.readOnce(iterator.sptep) as Spte;
      found.push({ spte, level: iterator.level, sptep: iterator.sptep });
      iterator.next(spte);
    }
    return found;
  }

  /** The lowest entry on the path of a page. */
  entry(page: number): { spte: Spte; level: number; sptep: Address } {
    return this.path(page).at(-1)!;
  }

  spte(page: number): Spte {
    return this.entry(page).spte;
  }

  sptep(page: number, level = 1): Address {
    const entry = this.path(page).find((step) => step.level === level);
    if (entry === undefined) throw new Error(`page ${page} has no entry at level ${level}`);
    return entry.sptep;
  }

  /** Ages pages [start, end) as a notifier does, with the lock that the aging mode asks for. */
  age(start: number, end: number, cpu: Cpu = this.cpu): boolean {
    return this.ageBy(kvmShadowAgeGfn, start, end, cpu);
  }

  testAge(start: number, end: number, cpu: Cpu = this.cpu): boolean {
    return this.ageBy(kvmShadowTestAgeGfn, start, end, cpu);
  }

  /** Opens an invalidation of pages [start, end), unmaps them and flushes if that is due; whether it was. */
  invalidateStart(start: number, end: number, mayBlock = false, cpu: Cpu = this.cpu): boolean {
    const { memslots } = this;
    return this.inSrcu(cpu, () =>
      this.underWriteLock(cpu, () => {
        kvmMmuInvalidateStart(memslots, cpu);
        kvmMmuInvalidateRangeAdd(memslots, cpu, this.gfn(start), this.gfn(end));
        const flush = kvmShadowUnmapGfnRange(this.mmu, cpu, this.range(start, end, mayBlock), false);
        if (flush) cpu.flushRemoteTlbs(this.flushDomain, null);
        return flush;
      }),
    );
  }

  invalidateEnd(cpu: Cpu = this.cpu): void {
    this.underWriteLock(cpu, () => kvmMmuInvalidateEnd(this.memslots, cpu));
  }

  unmap(start: number, end: number, mayBlock = false, cpu: Cpu = this.cpu): boolean {
    const flush = this.invalidateStart(start, end, mayBlock, cpu);
    this.invalidateEnd(cpu);
    return flush;
  }

  /** Reads the live dirty bit of a page without harvesting. */
  dirtyBit(page: number): boolean {
    const word = offset(slotDirtyBitmap(this.cpu, this.slot), Math.floor(page / 64) * 8);
    return ((this.cpu.readOnce(word) >> BigInt(page % 64)) & 1n) === 1n;
  }

  /** Harvests the dirty log; the pages it names. */
  harvestDirtyLog(cpu: Cpu = this.cpu): number[] {
    const pages: number[] = [];
    for (const [index, word] of kvmGetDirtyLog(this.memslots, cpu, this.arch, 0).entries()) {
      for (let bit = 0; bit < 64; bit++) {
        if (((word >> BigInt(bit)) & 1n) === 1n) pages.push(index * 64 + bit);
      }
    }
    return pages;
  }

  /** Leaves counted per level. */
  leaves(): [number, number, number] {
    const { pages_4k, pages_2m, pages_1g } = this.mmu.statistics.read(this.cpu);
    return [pages_4k, pages_2m, pages_1g];
  }

  /** Nothing is held any more, and everything that can be checked at rest is as it should be. */
  expectSound(): void {
    if (this.init.bare !== true) (this.cpu as LockdepCpu).lockdep.assertNothingHeld();
    expect(checkShadowSpteInvariants(this.mmu, this.cpu)).toEqual([]);
  }

  private ageBy(operation: typeof kvmShadowAgeGfn, start: number, end: number, cpu: Cpu): boolean {
    const body = (): boolean => operation(this.mmu, cpu, this.range(start, end));
    const locked = this.mmu.options.aging === "mmu-lock-write";
    return this.inSrcu(cpu, () => (locked ? this.underWriteLock(cpu, body) : body()));
  }
}

function archOf(mmu: ShadowMmu): SecondaryMmu {
  return {
    ageGfn: (cpu, range) => kvmShadowAgeGfn(mmu, cpu, range),
    testAgeGfn: (cpu, range) => kvmShadowTestAgeGfn(mmu, cpu, range),
    unmapGfnRange: (cpu, range) => kvmShadowUnmapGfnRange(mmu, cpu, range, false),
    flushShadowAll: (cpu) => {
      cpu.writeLock(mmu.mmuLock);
      kvmMmuZapAll(mmu, cpu);
      cpu.writeUnlock(mmu.mmuLock);
    },
    flushShadowMemslot: (cpu) => kvmShadowZapAllFast(mmu, cpu),
    memslotsUpdated: () => {},
    changeMmuPages: () => {},
    updateCpuDirtyLogging: () => {},
    enableDirtyLogging: (cpu, slot) => kvmShadowMmuSlotEnableDirtyLogging(mmu, cpu, slot),
    disableDirtyLogging: (cpu, slot) => kvmShadowMmuSlotDisableDirtyLogging(mmu, cpu, slot),
    enableLogDirtyPtMasked: (cpu, slot, gfnOffset, mask) => {
      const { dirtyLogInitiallySet } = mmu.memslots.options;
      kvmShadowMmuEnableLogDirtyPtMasked(mmu, cpu, slot, gfnOffset, mask, dirtyLogInitiallySet);
    },
    syncDirtyLog: () => {},
    flushRemoteTlbs: (cpu) => cpu.flushRemoteTlbs(mmu.flushDomain, null),
    flushRemoteTlbsMemslot: (cpu) => cpu.flushRemoteTlbs(mmu.flushDomain, null),
  };
}
