import {
  type Address,
  type Cpu,
  type FlushDomain,
  flushDomainBytes,
  offset,
  ThreadMachine,
  type TraceEvent,
  traceTo,
} from "@kvm-age/machine";
import {
  createMemslots,
  kvmSetMemoryRegion,
  type Memslots,
  noSecondaryMmu,
  type Slot,
  slotDirtyBitmap,
} from "@kvm-age/memslot";
import {
  createSpteFormat,
  type Gfn,
  kvmCalcTdpMmuRootPageRole,
  type Spte,
  type SpteFormat,
} from "@kvm-age/spte";
import {
  type FaultingMmu,
  KvmPageFault,
  type LeafSpte,
  type LeafSpteInput,
  MMU_STATISTICS_BYTES,
  MmuStatistics,
  makeLeafSpte,
  noShadowPages,
  type ShadowPageTracker,
} from "../../src/index.js";
import { HOST_BASE, HOST_PFN, LinearHost } from "./linear-host.js";
import { OneEntryWalk } from "./one-entry-walk.js";

/** First page of the slot; aligned to 1 GiB. */
export const SLOT_GFN = 0x40000 as Gfn;
const SLOT_PAGES = 4096;

export interface RigInit {
  readonly format?: SpteFormat;
  readonly nxHugePages?: boolean;
  readonly cpuDirtyLog?: boolean;
  /** `KVM_MEM_*` flags of the slot. */
  readonly slotFlags?: number;
  /** Host address of the slot; its alignment decides which huge pages the slot allows. */
  readonly hva?: number;
}

/** What one fault needs around it: a slot, a host, an MMU that is nothing but its fields, and tables of one entry. */
export class Rig implements FaultingMmu {
  readonly machine: ThreadMachine;
  readonly cpu: Cpu;
  readonly memslots: Memslots;
  readonly format: SpteFormat;
  readonly maxGfnExclusive: Gfn;
  readonly flushDomain: FlushDomain;
  readonly nxHugePages: boolean;
  readonly cpuDirtyLog: boolean;
  readonly statistics: MmuStatistics;
  readonly host: LinearHost = new LinearHost();
  readonly sptep: Address;
  readonly walk: OneEntryWalk;
  readonly events: TraceEvent[] = [];
  private readonly hva: number;

  constructor(init: RigInit = {}) {
    this.machine = ThreadMachine.create({ arenaBytes: 16 << 20, maxCpus: 2 });
    this.cpu = this.machine.attach();
    const { cpu, machine } = this;
    this.format = init.format ?? createSpteFormat({ mode: "ept" });
    this.memslots = createMemslots(cpu, machine, { maxGfn: 0xfffff as Gfn });
    this.maxGfnExclusive = 0x100000 as Gfn;
    this.flushDomain = { address: machine.frames.allocateSpan(cpu, flushDomainBytes(1)), maxMembers: 1 };
    this.nxHugePages = init.nxHugePages ?? false;
    this.cpuDirtyLog = init.cpuDirtyLog ?? false;
    this.statistics = new MmuStatistics(machine.frames.allocateSpan(cpu, MMU_STATISTICS_BYTES));
    this.sptep = machine.frames.allocateFrame(cpu, 0n);
    this.walk = new OneEntryWalk(this.format, this.sptep);
    this.hva = init.hva ?? HOST_BASE;
    this.setSlot(init.slotFlags ?? 0);
  }

  /** Makes slot 0, or changes its flags. */
  setSlot(flags: number): void {
    kvmSetMemoryRegion(this.memslots, this.cpu, noSecondaryMmu, {
      slot: 0,
      flags,
      guestPhysAddr: SLOT_GFN * 4096,
      memorySize: SLOT_PAGES * 4096,
      userspaceAddr: this.hva,
    });
  }

  get slot(): Slot {
    return this.memslots.gfnToMemslot(this.cpu, 0, SLOT_GFN);
  }

  get spte(): Spte {
    return this.cpu.readOnce(this.sptep) as Spte;
  }

  set spte(spte: bigint) {
    this.cpu.writeOnce(this.sptep, BigInt.asUintN(64, spte));
  }

  /** A fault on a page of the slot, its slot looked up. */
  fault(page: number, code: number, prefetch = false): KvmPageFault {
    return this.faultAt(SLOT_GFN + page, code, prefetch);
  }

  faultAt(gfn: number, code: number, prefetch = false): KvmPageFault {
    const fault = new KvmPageFault(gfn * 4096, code, prefetch);
    fault.slot = this.memslots.gfnToMemslot(this.cpu, 0, fault.gfn);
    return fault;
  }

  /** The leaf for a page of the slot, by a demand fault through a writable host page unless `changes` says otherwise. */
  leaf(
    page: number,
    changes: Partial<LeafSpteInput> = {},
    shadowPages: ShadowPageTracker = noShadowPages,
  ): LeafSpte {
    return makeLeafSpte(this, this.cpu, shadowPages, {
      role: kvmCalcTdpMmuRootPageRole(this.format, { level: 4 }),
      level: 1,
      slot: this.slot,
      gfn: (SLOT_GFN + page) as Gfn,
      pfn: (HOST_PFN + page) as LeafSpteInput["pfn"],
      oldSpte: 0n as Spte,
      prefetch: false,
      synchronizing: false,
      hostWritable: true,
      pteAccess: this.format.rules.accAll,
      ...changes,
    });
  }

  /** Whether the live dirty log has the page. */
  isDirty(page: number): boolean {
    const word = offset(slotDirtyBitmap(this.cpu, this.slot), Math.floor(page / 64) * 8);
    return ((this.cpu.readOnce(word) >> BigInt(page % 64)) & 1n) === 1n;
  }

  /** This thread's `Cpu` with its events going to `events`. */
  tracingCpu(cpu: Cpu = this.cpu): Cpu {
    return traceTo((_cpu, event) => void this.events.push(event))(cpu);
  }
}
