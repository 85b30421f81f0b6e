import { flushDomainBytes, ThreadMachine } from "@kvm-age/machine";
import {
  createMemslots,
  KVM_FILTER_SHARED,
  kvmSetMemoryRegion,
  type SecondaryMmu,
  toHva,
} from "@kvm-age/memslot";
import { createSpteFormat, PFERR_WRITE_MASK, toGfn, toPfn } from "@kvm-age/spte";
import {
  createTdpMmu,
  createTdpMmuVcpu,
  KvmPageFault,
  kvmMmuLoad,
  kvmTdpMmuAgeGfnRange,
  kvmTdpMmuPageFault,
  RetPf,
} from "../src/index.js";

// One processor, one VM with 512 pages at gfn 0x100, backed by a host whose page tables are a formula.
const machine = ThreadMachine.create({ arenaBytes: 16 << 20 });
const cpu = machine.attach();
const memslots = createMemslots(cpu, machine, { maxGfn: toGfn(0xfffff) });
const region = {
  slot: 0,
  flags: 0,
  guestPhysAddr: 0x100000,
  memorySize: 0x200000,
  userspaceAddr: toHva(0x7f0000100000),
};
const creationHooks: Partial<SecondaryMmu> = { memslotsUpdated() {}, changeMmuPages() {} };
kvmSetMemoryRegion(memslots, cpu, creationHooks as SecondaryMmu, region);
const host = {
  hvaToPfn: (_cpu: unknown, hva: number) =>
    ({ error: null, pfn: toPfn(hva / 4096), mapWritable: true }) as const,
  hostPfnMappingLevel: () => 1 as const,
  releasePage() {},
};

// Its TDP MMU: a guest write to page 0x123 faults, is mapped, and is aged twice without mmu_lock.
const flushDomain = { address: machine.frames.allocateSpan(cpu, flushDomainBytes(1)), maxMembers: 1 };
const mmu = createTdpMmu(
  cpu,
  machine,
  { memslots, flushDomain },
  { format: createSpteFormat({ mode: "ept" }) },
);
const vcpu = createTdpMmuVcpu(mmu, cpu, 0);
kvmMmuLoad(mmu, cpu, vcpu);
const fault = new KvmPageFault(0x123000, PFERR_WRITE_MASK, false);
const fixed = kvmTdpMmuPageFault(mmu, cpu, vcpu, host, fault) === RetPf.fixed;
const slot = memslots.gfnToMemslot(cpu, 0, toGfn(0x123));
const range = {
  slot,
  start: toGfn(0x100),
  end: toGfn(0x200),
  mayBlock: false,
  lockless: true,
  attrFilter: KVM_FILTER_SHARED,
};
const young = [kvmTdpMmuAgeGfnRange(mmu, cpu, range), kvmTdpMmuAgeGfnRange(mmu, cpu, range)];

export const text: string = `fixed ${fixed}, young ${young.join(" then ")}`;
