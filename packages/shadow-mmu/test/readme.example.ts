import { flushDomainBytes, ThreadMachine } from "@kvm-age/machine";
import { createMemslots, kvmSetMemoryRegion, noSecondaryMmu } from "@kvm-age/memslot";
import { RetPf } from "@kvm-age/page-fault";
import { createSpteFormat, PFERR_WRITE_MASK, toGfn, toPfn } from "@kvm-age/spte";
import * as shadow from "../src/index.js";

const machine = ThreadMachine.create({ arenaBytes: 32 << 20 });
const cpu = machine.attach();
const memslots = createMemslots(cpu, machine, {
  maxGfn: toGfn(0xfffff),
  tdpMmuEnabled: false,
  tdpEnabled: false,
});
const slot = { slot: 0, flags: 0, guestPhysAddr: 0, memorySize: 0x200000, userspaceAddr: 0x200000 };
kvmSetMemoryRegion(memslots, cpu, noSecondaryMmu, slot);
// Guest memory: 2 MiB of the arena, and here the owner's addresses are the arena's, 2 MiB higher.
const memory = machine.frames.allocateSpan(cpu, 0x200000);
const at = (hva: number) => (memory + hva - 0x200000) as typeof memory;
const host = {
  hvaToPfn: (_: unknown, hva: number) =>
    ({ error: null, pfn: toPfn(Math.floor(at(hva) / 4096)), mapWritable: true }) as const,
  hostPfnMappingLevel: () => 1 as const,
  releasePage: () => {},
  getUserPageFastOnly: () => null,
  loadUser: (_: unknown, hva: number) => cpu.readOnce(at(hva)),
  storeUser: () => false,
  cmpxchgUser: (_: unknown, hva: number, _size: 4 | 8, old: bigint, value: bigint) =>
    cpu.cmpxchg(at(hva), old, value, "full") === old ? ("done" as const) : ("changed" as const),
};

// The guest's page tables, at 0x1000 … 0x4000: linear 0x123000 is its physical page 0x50.
[0x2000n, 0x3000n, 0x4000n].forEach((table, index) => {
  cpu.writeOnce(at(0x201000 + index * 0x1000), table | 3n);
});
cpu.writeOnce(at(0x204000 + 0x123 * 8), 0x50003n);

const flushDomain = { address: machine.frames.allocateSpan(cpu, flushDomainBytes(1)), maxMembers: 1 };
const format = createSpteFormat({ mode: "shadow" });
const mmu = shadow.createShadowMmu(cpu, machine, { memslots, flushDomain, host }, { format });
const vcpu = shadow.createShadowMmuVcpu(mmu, cpu, 0);
const srcu = cpu.srcuReadLock(memslots.locks.srcu);
shadow.kvmInitMmu(mmu, cpu, vcpu, { ...shadow.LONG_MODE, cr3: 0x1000 });
shadow.kvmMmuLoad(mmu, cpu, vcpu);

// The guest writes to linear 0x123000; then the page is aged twice, without mmu_lock.
const fault = shadow.kvmShadowMmuPageFault(mmu, cpu, vcpu, 0x123000, BigInt(PFERR_WRITE_MASK));
const pages = { start: toGfn(0), end: toGfn(0x200), mayBlock: false, lockless: true, attrFilter: 1 };
const range = { slot: memslots.gfnToMemslot(cpu, 0, toGfn(0x50)), ...pages };
const young = [1, 2].map(() => shadow.kvmShadowAgeGfn(mmu, cpu, range));
cpu.srcuReadUnlock(memslots.locks.srcu, srcu);

const marked = cpu.readOnce(at(0x204000 + 0x123 * 8)).toString(16);
export const text: string = `fixed: ${fault.ret === RetPf.fixed}, guest entry: 0x${marked}, young: ${young.join(", then ")}`;
