import { flushDomainBytes, ThreadMachine } from "@kvm-age/machine";
import { createMemslots, kvmSetMemoryRegion, noSecondaryMmu } from "@kvm-age/memslot";
import { KvmPageFault, RetPf } from "@kvm-age/page-fault";
import { createSpteFormat, PFERR_WRITE_MASK, toGfn, toPfn } from "@kvm-age/spte";
import * as tdp from "../src/index.js";

const machine = ThreadMachine.create({ arenaBytes: 16 << 20 });
const cpu = machine.attach();
const memslots = createMemslots(cpu, machine, { maxGfn: toGfn(0xfffff) });
const memory = { guestPhysAddr: 0x100000, memorySize: 0x200000, userspaceAddr: 0x7f0000100000 };
kvmSetMemoryRegion(memslots, cpu, noSecondaryMmu, { slot: 0, flags: 0, ...memory });
const host = {
  hvaToPfn: (_: unknown, hva: number) =>
    ({ error: null, pfn: toPfn(hva / 4096), mapWritable: true }) as const,
  hostPfnMappingLevel: () => 1 as const,
  releasePage: () => {},
};

const flushDomain = { address: machine.frames.allocateSpan(cpu, flushDomainBytes(1)), maxMembers: 1 };
const format = createSpteFormat({ mode: "ept" });
const mmu = tdp.createTdpMmu(cpu, machine, { memslots, flushDomain }, { format });
const vcpu = tdp.createTdpMmuVcpu(mmu, cpu, 0);
tdp.kvmMmuLoad(mmu, cpu, vcpu);

// The guest writes to 0x123000; then the page is aged twice, without mmu_lock.
const fault = new KvmPageFault(0x123000, PFERR_WRITE_MASK, false);
const fixed = tdp.kvmTdpMmuPageFault(mmu, cpu, vcpu, host, fault) === RetPf.fixed;
const pages = { start: toGfn(0x100), end: toGfn(0x200), mayBlock: false, lockless: true, attrFilter: 1 };
const range = { slot: memslots.gfnToMemslot(cpu, 0, toGfn(0x123)), ...pages };
const young = [1, 2].map(() => tdp.kvmTdpMmuAgeGfnRange(mmu, cpu, range));

export const text: string = `fixed: ${fixed}, young: ${young.join(", then ")}`;
