import { type Address, type Cpu, flushDomainBytes, NULL_ADDRESS, ThreadMachine } from "@kvm-age/machine";
import {
  createMemslots,
  KVM_FILTER_SHARED,
  type KvmGfnRange,
  kvmSetMemoryRegion,
  type Memslots,
} from "@kvm-age/memslot";
import { createSpteFormat, type Gfn, type RuleSet } from "@kvm-age/spte";
import {
  createTdpMmu,
  createTdpMmuVcpu,
  kvmMmuLoad,
  type LeafScan,
  type TdpMmu,
  type TdpMmuVcpu,
} from "@kvm-age/tdp-mmu";
import { KVM_AGING_POLICIES } from "../aging/aging-policies.js";
import { Kvm } from "../kvm.js";
import { LINEAR_HVA, LinearHost } from "./linear-host.js";

const BASE_GFN = 0x40000 as Gfn;

/** What a bench decides of its VM. */
export interface LinearVmInit {
  readonly guestPages: number;
  readonly arenaBytes: number;
  readonly ruleSet: RuleSet;
  readonly leafScan: LeafScan;
}

/** One slot, one vCPU, one thread, and a host without cost. */
export class LinearVm {
  readonly machine: ThreadMachine;
  readonly cpu: Cpu;
  readonly host: LinearHost = new LinearHost(NULL_ADDRESS);
  readonly memslots: Memslots;
  readonly tdp: TdpMmu;
  readonly vcpu: TdpMmuVcpu;

  constructor(private readonly init: LinearVmInit) {
    this.machine = ThreadMachine.create({ arenaBytes: init.arenaBytes, maxCpus: 4 });
    this.cpu = this.machine.attach();
    const { cpu, machine } = this;
    this.memslots = createMemslots(cpu, machine, { maxGfn: (2 ** 34 - 1) as Gfn });
    const flushDomain = { address: machine.frames.allocateSpan(cpu, flushDomainBytes(1)), maxMembers: 1 };
    const format = createSpteFormat({ mode: "ept", ruleSet: init.ruleSet });
    const components = { memslots: this.memslots, flushDomain };
    this.tdp = createTdpMmu(cpu, machine, components, { format, options: { leafScan: init.leafScan } });
    this.vcpu = createTdpMmuVcpu(this.tdp, cpu, 0);
    const kvm = new Kvm({
      ...components,
      format,
      primary: this.host,
      tdp: this.tdp,
      shadow: null,
      slotZapAll: true,
      aging: KVM_AGING_POLICIES.lockless,
    });
    kvmSetMemoryRegion(this.memslots, cpu, kvm, {
      slot: 0,
      flags: 0,
      guestPhysAddr: BASE_GFN * 4096,
      memorySize: init.guestPages * 4096,
      userspaceAddr: LINEAR_HVA,
    });
    kvmMmuLoad(this.tdp, cpu, this.vcpu);
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

  /** The frame that hardware walks from. */
  get rootHpa(): Address {
    return this.cpu.readOnce32(this.vcpu.rootHpaWord) as Address;
  }

  gpaOf(page: number): number {
    return (BASE_GFN + page) * 4096;
  }
}
