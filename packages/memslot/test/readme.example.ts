import { ThreadMachine } from "@kvm-age/machine";
import { toGfn } from "@kvm-age/spte";
import { createMemslots, KvmMmuNotifier, kvmSetMemoryRegion, noSecondaryMmu, toHva } from "../src/index.js";

const machine = ThreadMachine.create({ arenaBytes: 16 << 20 });
const cpu = machine.attach();
const memslots = createMemslots(cpu, machine, { maxGfn: toGfn(0xfffff) });
const aged: number[][] = [];
const mmu = {
  ...noSecondaryMmu,
  ageGfn: (_: unknown, r: { start: number; end: number }) => aged.push([r.start, r.end]) > 0,
};
const region = { flags: 0, memorySize: 0x200000, userspaceAddr: 0x7f0000000000 };
kvmSetMemoryRegion(memslots, cpu, mmu, { ...region, slot: 0, guestPhysAddr: 0x100000 });
kvmSetMemoryRegion(memslots, cpu, mmu, { ...region, slot: 1, guestPhysAddr: 0x800000 }); // the same memory again
new KvmMmuNotifier(memslots, mmu).clearYoung(cpu, toHva(0x7f0000003800), toHva(0x7f0000005000));
export default aged; // [[0x103, 0x105], [0x803, 0x805]]: one host range, both aliases, without mmu_lock
