import {
  type Address,
  type Cpu,
  type FlushDomain,
  flushDomainBytes,
  LockGraph,
  memberCountWord,
  ThreadMachine,
  withLockdep,
} from "@kvm-age/machine";
import {
  createMemslots,
  type Hva,
  KVM_FILTER_SHARED,
  type KvmGfnRange,
  kvmSetMemoryRegion,
  type Memslots,
  type SecondaryMmu,
  type Slot,
} from "@kvm-age/memslot";
import type { MmuStatisticName } from "@kvm-age/page-fault";
import { createSpteFormat, type Gfn, linux73, type RuleSet, type SpteFormat } from "@kvm-age/spte";
import { kvmShadowAgeGfn, kvmShadowTestAgeGfn } from "../../src/aging/kvm-shadow-age-gfn.js";
import { createShadowMmu } from "../../src/create-shadow-mmu.js";
import {
  kvmShadowMmuEnableLogDirtyPtMasked,
  kvmShadowMmuSlotDisableDirtyLogging,
  kvmShadowMmuSlotEnableDirtyLogging,
} from "../../src/dirty/slot-dirty-logging.js";
import { kvmShadowMmuPageFault } from "../../src/fault/kvm-shadow-mmu-page-fault.js";
import type { ShadowFaultResult } from "../../src/fault/shadow-fault-result.js";
import type { GfnWriteProtector } from "../../src/gfn-write-protector.js";
import type { KvmMmuPage } from "../../src/page/kvm-mmu-page.js";
import type { GuestPagingRegisters } from "../../src/role/guest-paging-registers.js";
import { kvmMmuLoad } from "../../src/root/kvm-mmu-load.js";
import { rootSp } from "../../src/root/root-sp.js";
import type { ShadowMmu } from "../../src/shadow-mmu.js";
import type { ShadowMmuOptions } from "../../src/shadow-mmu-options.js";
import { kvmInitMmu } from "../../src/vcpu/kvm-init-mmu.js";
import { createShadowMmuVcpu, type ShadowMmuVcpu } from "../../src/vcpu/shadow-mmu-vcpu.js";
import { kvmMmuChangeMmuPages } from "../../src/zap/kvm-mmu-change-mmu-pages.js";
import { kvmMmuZapAll } from "../../src/zap/kvm-mmu-zap-all.js";
import { kvmShadowFlushMemslot } from "../../src/zap/kvm-shadow-flush-memslot.js";
import { kvmShadowUnmapGfnRange } from "../../src/zap/kvm-shadow-unmap-gfn-range.js";
import { ByteHost, HOST_BASE } from "../guest/kit/byte-host.js";

export interface ShadowGuestInit {
  readonly mode?: "shadow" | "pae" | "ept" | "npt";
  readonly ruleSet?: RuleSet;
  readonly hostLevel?: 4 | 5;
  readonly adBits?: boolean;
  readonly options?: Partial<ShadowMmuOptions>;
  /** Direct roots are another MMU's. @default false */
  readonly tdpMmuEnabled?: boolean;
  readonly nrAddressSpaces?: 1 | 2;
  /** Pages of slot 0. @default 4096 */
  readonly slotPages?: number;
  /** First gfn of slot 0; the owner maps gfn 0 at `HOST_BASE`, and so on. @default 0 */
  readonly slotGfn?: number;
  readonly slotFlags?: number;
  /** Pages with bytes, from gfn 0 on. @default 256 */
  readonly backedPages?: number;
  /** Largest page of the host's mapping, for pages without bytes. @default 1 */
  readonly hugeLevel?: 1 | 2 | 3;
  /** @default 48 MiB */
  readonly arenaBytes?: number;
  readonly otherMmu?: GfnWriteProtector;
  readonly dirtyLogInitiallySet?: boolean;
  /** @default true */
  readonly mmioCaching?: boolean;
  /** No lock validator: every access is the machine's own. */
  readonly bare?: boolean;
  /** Goes around the checking `Cpu`. */
  readonly wrapCpu?: (cpu: Cpu, machine: ThreadMachine) => Cpu;
}

const MAX_VCPUS = 8;

/** One VM with one vCPU, one slot and guest memory with bytes, on one thread, with every lock checked. No context is set up. */
export class ShadowGuest {
  readonly machine: ThreadMachine;
  readonly cpu: Cpu;
  readonly host: ByteHost;
  readonly format: SpteFormat;
  readonly memslots: Memslots;
  readonly flushDomain: FlushDomain;
  readonly otherMmu: GfnWriteProtector;
  readonly mmu: ShadowMmu;
  readonly vcpu: ShadowMmuVcpu;
  readonly arch: SecondaryMmu;
  readonly slotGfn: number;
  private readonly graph = new LockGraph();
  private vcpus = 0;

  constructor(private readonly init: ShadowGuestInit = {}) {
    this.machine = ThreadMachine.create({ arenaBytes: init.arenaBytes ?? 48 << 20, maxCpus: 4 });
    this.cpu = this.attach();
    const { cpu, machine } = this;
    const { mode = "shadow", ruleSet = linux73 } = init;
    const adBits = mode === "ept" ? { adBits: init.adBits ?? true } : {};
    const mmioCaching = init.mmioCaching ?? true;
    this.format = createSpteFormat({ mode, ruleSet, maxPhyAddr: 46, mmioCaching, ...adBits });
    this.memslots = createMemslots(cpu, machine, {
      maxGfn: (2 ** 34 - 1) as Gfn,
      tdpMmuEnabled: init.tdpMmuEnabled ?? false,
      tdpEnabled: mode === "ept" || mode === "npt",
      nrAddressSpaces: init.nrAddressSpaces ?? 2,
      dirtyLogManualProtect: init.dirtyLogInitiallySet ?? false,
      dirtyLogInitiallySet: init.dirtyLogInitiallySet ?? false,
    });
    const address = machine.frames.allocateSpan(cpu, flushDomainBytes(MAX_VCPUS));
    this.flushDomain = { address, maxMembers: MAX_VCPUS };
    this.host = new ByteHost(cpu, machine, init.backedPages ?? 256);
    this.host.level = init.hugeLevel ?? 1;
    this.otherMmu = init.otherMmu ?? { writeProtectGfn: () => false };
    this.mmu = createShadowMmu(cpu, machine, this, {
      format: this.format,
      hostLevel: init.hostLevel ?? 4,
      options: init.options ?? {},
    });
    this.arch = archOf(this.mmu);
    this.vcpu = this.addVcpu();
    this.slotGfn = init.slotGfn ?? 0;
    this.setSlot(init.slotFlags ?? 0);
  }

  /** Another processor, checked like the first. */
  attach(): Cpu {
    const raw = this.machine.attach();
    const cpu = this.init.bare === true ? raw : withLockdep(this.graph)(raw);
    return this.init.wrapCpu?.(cpu, this.machine) ?? cpu;
  }

  /** Creates slot 0, or changes its flags. */
  setSlot(flags: number): void {
    const hva = (HOST_BASE + this.slotGfn * 4096) as Hva;
    this.setRegion(0, this.slotGfn, this.init.slotPages ?? 4096, hva, flags);
  }

  addVcpu(): ShadowMmuVcpu {
    const id = this.vcpus++;
    this.cpu.writeOnce32(memberCountWord(this.flushDomain), this.vcpus);
    return createShadowMmuVcpu(this.mmu, this.cpu, id);
  }

  /** `KVM_SET_USER_MEMORY_REGION` in pages; `slot` is address space << 16 | id. */
  setRegion(
    slot: number,
    gfn: number,
    pages: number,
    hva: Hva,
    flags: number,
    arch: SecondaryMmu = this.arch,
  ): void {
    kvmSetMemoryRegion(this.memslots, this.cpu, arch, {
      slot,
      flags,
      guestPhysAddr: gfn * 4096,
      memorySize: pages * 4096,
      userspaceAddr: hva,
    });
  }

  /** Slot 0. */
  get slot(): Slot {
    return this.memslots.gfnToMemslot(this.cpu, 0, this.slotGfn as Gfn);
  }

  range(start: number, end: number): KvmGfnRange {
    return {
      slot: this.slot,
      start: start as Gfn,
      end: end as Gfn,
      mayBlock: false,
      lockless: true,
      attrFilter: KVM_FILTER_SHARED,
    };
  }

  /** What a processor of the guest's sees at a guest-physical address with bytes. */
  peek(gpa: number): bigint {
    return this.cpu.readOnce(this.wordAt(gpa));
  }

  /** Stores without anybody being told, as a processor of the guest's does. */
  poke(gpa: number, value: bigint): void {
    this.cpu.writeOnce(this.wordAt(gpa), BigInt.asUintN(64, value));
  }

  wordAt(gpa: number): Address {
    const word = this.host.word(HOST_BASE + gpa);
    if (word === null) throw new Error(`no bytes at gpa 0x${gpa.toString(16)}`);
    return word;
  }

  /** In a read section of `kvm->srcu`, as a vCPU outside the guest is. */
  inSrcu<Result>(body: () => Result, cpu: Cpu = this.cpu): Result {
    const { srcu } = this.memslots.locks;
    const index = cpu.srcuReadLock(srcu);
    const result = body();
    cpu.srcuReadUnlock(srcu, index);
    return result;
  }

  /** With `mmu_lock` held for write, in a read section of `kvm->srcu`. */
  underWriteLock<Result>(body: () => Result, cpu: Cpu = this.cpu): Result {
    return this.inSrcu(() => {
      cpu.writeLock(this.mmu.mmuLock);
      const result = body();
      cpu.writeUnlock(this.mmu.mmuLock);
      return result;
    }, cpu);
  }

  /** With `slots_lock` held. */
  underSlotsLock<Result>(body: () => Result, cpu: Cpu = this.cpu): Result {
    const { slotsLock } = this.memslots.locks;
    cpu.mutexLock(slotsLock);
    const result = body();
    cpu.mutexUnlock(slotsLock);
    return result;
  }

  /** Sets the vCPU's `root_mmu` up for the registers and loads a root. */
  load(registers: GuestPagingRegisters, vcpu: ShadowMmuVcpu = this.vcpu): KvmMmuPage {
    this.inSrcu(() => kvmInitMmu(this.mmu, this.cpu, vcpu, registers));
    return this.reload(vcpu);
  }

  /** Loads a root for the context in use, if it has none; its page. */
  reload(vcpu: ShadowMmuVcpu = this.vcpu): KvmMmuPage {
    if (!this.inSrcu(() => kvmMmuLoad(this.mmu, this.cpu, vcpu))) throw new Error("ENOSPC");
    return rootSp(this.mmu, this.cpu, vcpu.current(this.cpu));
  }

  /** A fault at an address, as the context in use translates it. */
  fault(
    addr: number,
    errorCode: number,
    vcpu: ShadowMmuVcpu = this.vcpu,
    cpu: Cpu = this.cpu,
  ): ShadowFaultResult {
    return this.inSrcu(() => kvmShadowMmuPageFault(this.mmu, cpu, vcpu, addr, BigInt(errorCode)), cpu);
  }

  statistic(name: MmuStatisticName): number {
    return this.cpu.readOnce32(this.mmu.statistics.word(name));
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
    flushShadowMemslot: (cpu, slot) => kvmShadowFlushMemslot(mmu, cpu, slot),
    memslotsUpdated: () => {},
    changeMmuPages: (cpu, goal) => kvmMmuChangeMmuPages(mmu, cpu, goal),
    updateCpuDirtyLogging: () => {},
    enableDirtyLogging: (cpu, slot) => kvmShadowMmuSlotEnableDirtyLogging(mmu, cpu, slot),
    disableDirtyLogging: (cpu, slot) => kvmShadowMmuSlotDisableDirtyLogging(mmu, cpu, slot),
    enableLogDirtyPtMasked: (cpu, slot, offset, mask) => {
      const { dirtyLogInitiallySet } = mmu.memslots.options;
      kvmShadowMmuEnableLogDirtyPtMasked(mmu, cpu, slot, offset, mask, dirtyLogInitiallySet);
    },
    syncDirtyLog: () => {},
    flushRemoteTlbs: (cpu) => cpu.flushRemoteTlbs(mmu.flushDomain, null),
    flushRemoteTlbsMemslot: (cpu) => cpu.flushRemoteTlbs(mmu.flushDomain, null),
  };
}
