import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import {
  createShadowMmuVcpu,
  kvmInitMmu,
  type ShadowMmuVcpu,
  kvmMmuUnload as unloadShadow,
} from "@kvm-age/shadow-mmu";
import { createTdpMmuVcpu, type TdpMmuVcpu, kvmMmuUnload as unloadTdp } from "@kvm-age/tdp-mmu";
import {
  type AccessKind,
  allocateVcpu,
  attachVcpu,
  PAGING_OFF,
  type PageFaultResult,
  type Vcpu,
  type VcpuMmu,
} from "@kvm-age/vcpu";
import { ModelTables } from "../../../src/conformance/model/model-tables.js";
import { withPageModificationLog } from "../../../src/conformance/model/page-modification-log.js";
import { ShadowRoots } from "../../../src/vm/shadow-roots.js";
import { TdpRoots } from "../../../src/vm/tdp-roots.js";
import type { VcpuRoots } from "../../../src/vm/vcpu-roots.js";
import type { Agevm } from "./agevm.js";
import { modeOf, pagingOf } from "./agevm-config.js";

/** Thrown when an access of the guest does not end in memory. */
export class GuestAccessError extends Error {
  override readonly name = "GuestAccessError";

  constructor(address: number, kind: AccessKind, result: number) {
    super(`the guest's ${kind} at 0x${address.toString(16)} ended with ${result}`);
  }
}

/** Code of each kind of loop. */
const RIP: Readonly<Record<AccessKind, number>> = {
  write: 0x1000,
  read: 0x1100,
  fetch: 0x1200,
  "user-write": 0x1000,
  "user-read": 0x1100,
  "user-fetch": 0x1200,
};

/** A vCPU of the VMM: real hardware over real MMUs, with the probe at the load of a root. */
export class AgevmVcpu implements VcpuMmu {
  private readonly hardware: Vcpu;
  private readonly roots: VcpuRoots;
  private readonly shadow: ShadowMmuVcpu;
  private readonly tdp: TdpMmuVcpu | null;
  private readonly tables: ModelTables;

  constructor(
    private readonly vm: Agevm,
    index: number,
  ) {
    const { cpu, config, format, machine, mmus, host } = vm;
    const handle = allocateVcpu(cpu, machine, {
      pageFormat: modeOf(config.mmu),
      adEnabled: format.kvmAdEnabled,
      eptReadReportsUser: modeOf(config.mmu) === "ept" && format.rules.eptReadReportsUser,
      rootLevel: 4,
      maxPhyAddr: format.host.maxPhyAddr,
      flushDomain: vm.flushDomain,
    });
    this.tables = new ModelTables(format, cpu, vm.rootLevel === 3 ? 2 : 4);
    this.shadow = createShadowMmuVcpu(mmus.shadow!, cpu, index);
    const registers = pagingOf(config);
    vm.inSrcu(() => kvmInitMmu(mmus.shadow!, cpu, this.shadow, registers));
    this.tdp = mmus.tdp === null ? null : createTdpMmuVcpu(mmus.tdp, cpu, index);
    this.roots =
      this.tdp === null
        ? new ShadowRoots(mmus.shadow!, this.shadow, handle)
        : new TdpRoots(mmus.tdp!, this.tdp, host);
    this.hardware = attachVcpu(machine, handle, { mmu: this });
    if (registers.cr0Pg) {
      const { cr3 } = registers;
      const state = { ...PAGING_OFF, mode: "4-level", cr3, cr0Wp: true, eferNx: true } as const;
      this.hardware.setGuestPaging(cpu, state);
    }
  }

  /** One word of each page: the loop's code is fetched, then the pages are used in order. No translation outlives its access. */
  loop(cpu: Cpu, kind: AccessKind, addresses: readonly number[]): void {
    this.access(cpu, RIP[kind], "fetch");
    for (const address of addresses) this.access(cpu, address, kind);
  }

  unload(cpu: Cpu): void {
    const { tdp, shadow } = this.vm.mmus;
    this.vm.inSrcu(() => {
      if (tdp !== null) unloadTdp(tdp, cpu, this.tdp!);
      unloadShadow(shadow!, cpu, this.shadow);
    });
  }

  rootHpa(cpu: Cpu): Address {
    return this.roots.rootHpa(cpu);
  }

  load(cpu: Cpu): void {
    this.vm.inSrcu(() => this.roots.load(cpu));
    const { config, log } = this.vm;
    const name = modeOf(config.mmu) === "ept" ? "pgdv" : "pgd";
    log.probe(name, { root: BigInt(this.rootHpa(cpu)), level: BigInt(this.vm.rootLevel) });
  }

  handleRequests(cpu: Cpu, requests: number): void {
    this.vm.inSrcu(() => this.roots.handleRequests(cpu, requests));
  }

  handlePageFault(cpu: Cpu, address: number, errorCode: bigint): PageFaultResult {
    return this.vm.inSrcu(() => this.roots.handlePageFault(cpu, address, errorCode));
  }

  private access(cpu: Cpu, address: number, kind: AccessKind): void {
    const gfn = Math.floor(address / 4096);
    const isDirty = (): boolean => this.isDirty(cpu, gfn);
    const run = (): void => this.accessOnce(cpu, address, kind);
    if (!this.vm.config.tuning.cpuDirtyLog) run();
    else withPageModificationLog(this.vm.memslots, cpu, gfn, isDirty, run);
  }

  private accessOnce(cpu: Cpu, address: number, kind: AccessKind): void {
    this.hardware.flushTlb(cpu);
    const result = this.hardware.access(cpu, address, kind);
    this.hardware.exitGuest(cpu);
    if (result < 0) throw new GuestAccessError(address, kind, result);
  }

  private isDirty(cpu: Cpu, gfn: number): boolean {
    const root = this.rootHpa(cpu);
    const leaf = root === NULL_ADDRESS ? undefined : this.tables.path(root, gfn).at(-1);
    return leaf?.last === true && (leaf.spte & this.vm.format.shadowDirtyMask) !== 0n;
  }
}
