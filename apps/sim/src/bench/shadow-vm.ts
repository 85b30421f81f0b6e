import { type Address, type Cpu, type FlushDomain, flushDomainBytes, ThreadMachine } from "@kvm-age/machine";
import {
  createMemslots,
  KVM_FILTER_SHARED,
  type KvmGfnRange,
  kvmSetMemoryRegion,
  type Memslots,
} from "@kvm-age/memslot";
import { KvmPageFault, RetPf } from "@kvm-age/page-fault";
import {
  createShadowMmuVcpu,
  kvmInitShadowEptMmu,
  kvmMmuChangeMmuPages,
  kvmMmuLoad,
  kvmMmuResetContext,
  kvmShadowMmuPageFault,
  type ShadowMmu,
  type ShadowMmuVcpu,
} from "@kvm-age/shadow-mmu";
import type { Gfn } from "@kvm-age/spte";
import {
  createTdpMmuVcpu,
  kvmTdpMmuPageFault,
  type TdpMmuVcpu,
  kvmMmuLoad as tdpMmuLoad,
} from "@kvm-age/tdp-mmu";
import { PAGING_OFF } from "@kvm-age/vcpu";
import { KVM_AGING_POLICIES } from "../aging/aging-policies.js";
import { EPT_TABLES, LONG_MODE_TABLES } from "../guest/guest-table-format.js";
import { GuestTables, guestTablePages } from "../guest/guest-tables.js";
import { Kvm } from "../kvm.js";
import { guestPagingRegisters } from "../vm/guest-paging-registers.js";
import { MMU_SHAPES, type Mmu } from "../vm/mmu-shape.js";
import { attachVmMmus, createVmMmus, type VmMmus } from "../vm/vm-mmus.js";
import { benchConfig } from "./bench-config.js";
import { LINEAR_HVA, LinearHost, TABLES_HVA } from "./linear-host.js";

/** Pages that one fault maps where neighbours are at hand. */
export const PTE_PREFETCH_NUM = 8;
const PAGE_BYTES = 4096;
const BASE_GFN = 0x40000 as Gfn;
const TABLES_GPA = 0x180000;
const MAX_GFN = (2 ** 34 - 1) as Gfn;
/** More shadow pages than an arena holds: the quota's effect is not what is measured. */
const NO_QUOTA = 1 << 20;
/** PFERR: a write; in L2, to the page itself and not to one of L2's tables. */
const WRITE = 2;
const NESTED_WRITE = (1n << 32n) | 2n;
/** A and D of a guest's leaf, and of one in L1's EPT. */
const AD = 0x60n;
const EPT_AD = 0x300n;
/** EPTP of L1: write-back, four levels, A/D maintained. */
const EPTP_FLAGS = 0x5e;

/** Thrown when a fault that is measured did not map its page. */
export class UnmappedFaultError extends Error {
  override readonly name = "UnmappedFaultError";

  constructor(
    readonly page: number,
    readonly ret: RetPf,
  ) {
    super(`fault of guest page ${page} ended with ${ret}, allowed: ${RetPf.fixed}`);
  }
}

/** What a bench decides of its VM. */
export interface ShadowVmInit {
  readonly mmu: Exclude<Mmu, "tdp">;
  /** A multiple of 512. */
  readonly guestPages: number;
  readonly arenaBytes: number;
  /** How often the guest's own tables map each page, each time by tables of their own. @default 1 */
  readonly aliases?: number;
  /** Whether the guest's entries have A and D set, as after use: faults set neither then, and map neighbours. @default false */
  readonly used?: boolean;
}

/**
 * One guest under the shadow MMU, one vCPU, one thread, and a host without cost: a linear guest, a guest with paging on, or one in L2
 * whose L1 is under the TDP MMU. The thread stays in a read section of `kvm->srcu`, as a vCPU's does while it handles an exit.
 */
export class ShadowVm {
  readonly machine: ThreadMachine;
  readonly cpu: Cpu;
  readonly host: LinearHost;
  readonly memslots: Memslots;
  readonly shadow: ShadowMmu;
  readonly vcpu: ShadowMmuVcpu;
  /** Pages of the guest's own page tables, which lie in the arena: memory of the host, not of KVM. */
  readonly tablePages: number;
  private readonly mmus: VmMmus;
  private readonly tdpVcpu: TdpMmuVcpu | null;

  constructor(private readonly init: ShadowVmInit) {
    const { mmu, guestPages, arenaBytes, aliases = 1 } = init;
    this.machine = ThreadMachine.create({ arenaBytes, maxCpus: 4 });
    this.cpu = this.machine.attach();
    const { cpu, machine } = this;
    const { tdp: tdpEnabled, tdpMmu: tdpMmuEnabled, guestTables } = MMU_SHAPES[mmu];
    this.tablePages = guestTables === "none" ? 0 : guestTablePages(guestPages * aliases);
    this.host = new LinearHost(machine.frames.allocateSpan(cpu, this.tablePages * PAGE_BYTES));
    this.memslots = createMemslots(cpu, machine, { maxGfn: MAX_GFN, tdpEnabled, tdpMmuEnabled });
    const flushDomain = { address: machine.frames.allocateSpan(cpu, flushDomainBytes(1)), maxMembers: 1 };
    const parts = { memslots: this.memslots, flushDomain, host: this.host };
    const config = { ...benchConfig(guestPages), mmu };
    this.mmus = attachVmMmus(machine, createVmMmus(cpu, machine, parts, config), parts);
    const { tdp, shadow } = this.mmus;
    this.shadow = shadow!;
    this.vcpu = createShadowMmuVcpu(this.shadow, cpu, 0);
    this.tdpVcpu = tdp === null ? null : createTdpMmuVcpu(tdp, cpu, 0);
    this.addSlots(flushDomain);
    cpu.srcuReadLock(this.memslots.locks.srcu);
    kvmMmuChangeMmuPages(this.shadow, cpu, NO_QUOTA);
    this.boot();
  }

  /** The whole guest as a notifier would hand it on. */
  get wholeRange(): KvmGfnRange {
    return {
      slot: this.memslots.gfnToMemslot(this.cpu, 0, BASE_GFN),
      start: BASE_GFN,
      end: (BASE_GFN + this.init.guestPages) as Gfn,
      mayBlock: false,
      lockless: true,
      attrFilter: KVM_FILTER_SHARED,
    };
  }

  /** The frame that hardware walks from while the shadow MMU's tables are in use. */
  get rootHpa(): Address {
    return this.vcpu.current(this.cpu).rootHpa(this.cpu);
  }

  /**
   * The shadow MMU's fault for the first write to a page.
   *
   * @param alias number of the mapping in the guest's own tables
   * @throws UnmappedFaultError
   */
  fault(page: number, alias = 0): void {
    const address = this.gpaOf(alias * this.init.guestPages + page);
    const errorCode = this.tdpVcpu === null ? BigInt(WRITE) : NESTED_WRITE;
    const { ret } = kvmShadowMmuPageFault(this.shadow, this.cpu, this.vcpu, address, errorCode);
    if (ret !== RetPf.fixed) throw new UnmappedFaultError(page, ret);
  }

  /**
   * L1's fault for the same page, which the TDP MMU handles.
   *
   * @throws UnmappedFaultError
   */
  tdpFault(page: number): void {
    const fault = new KvmPageFault(this.gpaOf(page), WRITE, false);
    const ret = kvmTdpMmuPageFault(this.mmus.tdp!, this.cpu, this.tdpVcpu!, this.host, fault);
    if (ret !== RetPf.fixed) throw new UnmappedFaultError(page, ret);
  }

  private gpaOf(page: number): number {
    return (BASE_GFN + page) * PAGE_BYTES;
  }

  private addSlots(flushDomain: FlushDomain): void {
    const { cpu, memslots, init } = this;
    const kvm = new Kvm({
      ...this.mmus,
      memslots,
      flushDomain,
      format: this.shadow.format,
      primary: this.host,
      slotZapAll: true,
      aging: KVM_AGING_POLICIES.lockless,
    });
    const add = (slot: number, gpa: number, userspaceAddr: number, pages: number): void => {
      const memorySize = pages * PAGE_BYTES;
      kvmSetMemoryRegion(memslots, cpu, kvm, {
        slot,
        flags: 0,
        guestPhysAddr: gpa,
        memorySize,
        userspaceAddr,
      });
    };
    add(0, this.gpaOf(0), LINEAR_HVA, init.guestPages);
    if (this.tablePages > 0) add(1, TABLES_GPA, TABLES_HVA, this.tablePages);
  }

  /** Builds the guest's tables, sets the contexts up and gives them roots. */
  private boot(): void {
    const { cpu, shadow, vcpu } = this;
    if (this.init.mmu === "shadow") {
      const cr3 = this.buildTables().rootGpa;
      const paging = { ...PAGING_OFF, mode: "4-level", cr3, cr0Wp: true, eferNx: true } as const;
      kvmMmuResetContext(shadow, cpu, vcpu, guestPagingRegisters(paging));
    } else kvmMmuResetContext(shadow, cpu, vcpu, guestPagingRegisters(PAGING_OFF));
    if (this.tdpVcpu !== null) {
      tdpMmuLoad(this.mmus.tdp!, cpu, this.tdpVcpu);
      kvmInitShadowEptMmu(shadow, cpu, vcpu, { eptp: this.buildTables().rootGpa + EPTP_FLAGS });
    }
    kvmMmuLoad(shadow, cpu, vcpu);
  }

  private buildTables(): GuestTables {
    const { guestPages, aliases = 1, mmu, used = false } = this.init;
    const area = { gpa: TABLES_GPA, hva: TABLES_HVA, pages: this.tablePages };
    const [format, ad] = mmu === "shadow" ? [LONG_MODE_TABLES, AD] : [EPT_TABLES, EPT_AD];
    const page = used ? format.page | ad : format.page;
    const tables = new GuestTables(this.host, area, { ...format, page });
    for (let alias = 0; alias < aliases; alias++) {
      tables.map(this.cpu, this.gpaOf(alias * guestPages), this.gpaOf(0), guestPages, 1);
    }
    return tables;
  }
}
