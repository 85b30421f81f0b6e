import { type Cpu, type FlushDomain, flushDomainBytes, ThreadMachine } from "@kvm-age/machine";
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
import { KvmPageFault, type RetPf } from "@kvm-age/page-fault";
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
import {
  createTdpMmu,
  createTdpMmuVcpu,
  kvmMmuLoad,
  kvmTdpMmuAgeGfnRange,
  kvmTdpMmuEnableLogDirtyPtMasked,
  kvmTdpMmuPageFault,
  kvmTdpMmuSlotDisableDirtyLogging,
  kvmTdpMmuSlotEnableDirtyLogging,
  kvmTdpMmuTestAgeGfn,
  kvmTdpMmuUnmapGfnRange,
  kvmTdpMmuZapAll,
  kvmTdpMmuZapAllFast,
  TdpIter,
  type TdpMmu,
  type TdpMmuOptions,
  type TdpMmuVcpu,
} from "../../src/index.js";
import { rootOfVcpu } from "../../src/root/kvm-tdp-mmu-alloc-root.js";
import { LinearHost } from "./linear-host.js";

export interface GuestInit {
  readonly mode?: "ept" | "npt";
  readonly adBits?: boolean;
  readonly ruleSet?: RuleSet;
  readonly rootLevel?: 4 | 5;
  readonly options?: Partial<TdpMmuOptions>;
  readonly slotPages?: number;
  readonly slotFlags?: number;
  /** @default 64 MiB */
  readonly arenaBytes?: number;
  readonly mmioCaching?: boolean;
  readonly wrapCpu?: (cpu: Cpu, machine: ThreadMachine) => Cpu;
}

export interface Region {
  readonly slot: number;
  readonly gfn: number;
  readonly pages: number;
  readonly hva: Hva;
  readonly flags: number;
}

export const SLOT_GFN = 0x40000 as Gfn;
export const SLOT_HVA = 0x7f0000000000 as Hva;

/** One VM with one vCPU and one slot, on one thread: the smallest thing a TDP MMU can work for. */
export class Guest {
  readonly machine: ThreadMachine;
  readonly cpu: Cpu;
  readonly host: LinearHost = new LinearHost();
  readonly format: SpteFormat;
  readonly memslots: Memslots;
  readonly flushDomain: FlushDomain;
  readonly mmu: TdpMmu;
  readonly vcpu: TdpMmuVcpu;
  readonly arch: SecondaryMmu;
  private readonly slotPages: number;

  constructor(init: GuestInit = {}) {
    this.machine = ThreadMachine.create({ arenaBytes: init.arenaBytes ?? 64 << 20, maxCpus: 4 });
    const raw = this.machine.attach();
    this.cpu = init.wrapCpu?.(raw, this.machine) ?? raw;
    const { cpu, machine } = this;
    const mode = init.mode ?? "ept";
    this.format = createSpteFormat({
      mode,
      ruleSet: init.ruleSet ?? linux73,
      ...(mode === "ept" ? { adBits: init.adBits ?? true } : {}),
      mmioCaching: init.mmioCaching ?? true,
    });
    this.memslots = createMemslots(cpu, machine, { maxGfn: (2 ** 34 - 1) as Gfn });
    this.flushDomain = { address: machine.frames.allocateSpan(cpu, flushDomainBytes(4)), maxMembers: 4 };
    this.mmu = createTdpMmu(cpu, machine, this, {
      format: this.format,
      rootLevel: init.rootLevel ?? 4,
      options: init.options ?? {},
    });
    this.vcpu = createTdpMmuVcpu(this.mmu, cpu, 0);
    this.arch = archOf(this.mmu, this.host);
    this.slotPages = init.slotPages ?? 2048;
    this.setSlot(init.slotFlags ?? 0);
    kvmMmuLoad(this.mmu, cpu, this.vcpu);
  }

  /** Creates slot 0, or changes its flags. */
  setSlot(flags: number): void {
    this.setRegion({ slot: 0, gfn: SLOT_GFN, pages: this.slotPages, hva: SLOT_HVA, flags });
  }

  deleteSlot(arch: SecondaryMmu = this.arch): void {
    this.setRegion({ slot: 0, gfn: SLOT_GFN, pages: 0, hva: SLOT_HVA, flags: 0 }, arch);
  }

  /** `KVM_SET_USER_MEMORY_REGION` in pages; `slot` is address space << 16 | id. */
  setRegion(region: Region, arch: SecondaryMmu = this.arch): void {
    kvmSetMemoryRegion(this.memslots, this.cpu, arch, {
      slot: region.slot,
      flags: region.flags,
      guestPhysAddr: region.gfn * 4096,
      memorySize: region.pages * 4096,
      userspaceAddr: region.hva,
    });
  }

  get slot(): Slot {
    return this.memslots.gfnToMemslot(this.cpu, 0, SLOT_GFN);
  }

  range(start: number, end: number): KvmGfnRange {
    return {
      slot: this.slot,
      start: (SLOT_GFN + start) as Gfn,
      end: (SLOT_GFN + end) as Gfn,
      mayBlock: false,
      lockless: true,
      attrFilter: KVM_FILTER_SHARED,
    };
  }

  /** A fault on page `page` of the slot; the error code follows from what the entry holds. */
  fault(page: number, write: boolean, cpu: Cpu = this.cpu): RetPf {
    const present = (this.spte(page) & 0x7n) !== 0n ? PFERR_PRESENT_MASK : 0;
    return this.faultWithCode(page, present | (write ? PFERR_WRITE_MASK : 0), cpu);
  }

  faultWithCode(page: number, code: number, cpu: Cpu = this.cpu, prefetch = false): RetPf {
    const fault = new KvmPageFault((SLOT_GFN + page) * 4096, code, prefetch);
    return kvmTdpMmuPageFault(this.mmu, cpu, this.vcpu, this.host, fault);
  }

  /** The lowest entry on the path of a page, and its level. */
  entry(page: number): { spte: Spte; level: number; sptep: number } {
    const iter = new TdpIter(this.format);
    const gfn = (SLOT_GFN + page) as Gfn;
    const found = { spte: 0n as Spte, level: 0, sptep: 0 };
    iter.start(this.cpu, rootOfVcpu(this.mmu, this.cpu, this.vcpu), 1, gfn);
    for (; iter.valid && iter.gfn <= gfn; iter.next(this.cpu)) {
      found.spte = iter.oldSpte;
      found.level = iter.level;
      found.sptep = iter.sptep;
    }
    return found;
  }

  spte(page: number): Spte {
    return this.entry(page).spte;
  }
}

function archOf(mmu: TdpMmu, host: LinearHost): SecondaryMmu {
  return {
    ageGfn: (cpu, range) => kvmTdpMmuAgeGfnRange(mmu, cpu, range),
    testAgeGfn: (cpu, range) => kvmTdpMmuTestAgeGfn(mmu, cpu, range),
    unmapGfnRange: (cpu, range) => kvmTdpMmuUnmapGfnRange(mmu, cpu, range, false),
    flushShadowAll: (cpu) => {
      cpu.writeLock(mmu.mmuLock);
      kvmTdpMmuZapAll(mmu, cpu);
      cpu.writeUnlock(mmu.mmuLock);
    },
    flushShadowMemslot: (cpu) => kvmTdpMmuZapAllFast(mmu, cpu),
    memslotsUpdated: () => {},
    changeMmuPages: () => {},
    updateCpuDirtyLogging: () => {},
    enableDirtyLogging: (cpu, slot) => kvmTdpMmuSlotEnableDirtyLogging(mmu, cpu, slot),
    disableDirtyLogging: (cpu, slot) => kvmTdpMmuSlotDisableDirtyLogging(mmu, cpu, host, slot),
    enableLogDirtyPtMasked: (cpu, slot, offset, mask) =>
      kvmTdpMmuEnableLogDirtyPtMasked(mmu, cpu, slot, offset, mask, false),
    syncDirtyLog: () => {},
    flushRemoteTlbs: (cpu) => cpu.flushRemoteTlbs(mmu.flushDomain, null),
    flushRemoteTlbsMemslot: (cpu) => cpu.flushRemoteTlbs(mmu.flushDomain, null),
  };
}
