import { type Address, flushDomainBytes, ThreadMachine } from "@kvm-age/machine";
import { createVcpu, type VcpuMmu } from "../src/index.js";

const machine = ThreadMachine.create({ arenaBytes: 1 << 22 });
const cpu = machine.attach();
const frames = (count: number): Address[] =>
  Array.from({ length: count }, () => machine.frames.allocateFrame(cpu));
// EPT: a root and the three tables below it, entry 0 of each. Guest memory: six frames with bytes, not mapped yet.
const tables = frames(4);
for (const above of [0, 1, 2]) cpu.writeOnce(tables[above]!, BigInt(tables[above + 1]!) | 0x7n);
export const ram: readonly Address[] = frames(6);
const mmu: VcpuMmu = {
  rootHpa: () => tables[0]!,
  load() {},
  handleRequests() {},
  handlePageFault(on, gpa) {
    const gfn = Math.floor(gpa / 4096);
    on.writeOnce((tables[3]! + gfn * 8) as Address, BigInt(ram[gfn]!) | 0x37n);
    return "retry";
  },
};
const flushDomain = { address: machine.frames.allocateSpan(cpu, flushDomainBytes(1)), maxMembers: 1 };
const vcpu = createVcpu(
  cpu,
  machine,
  { flushDomain, pageFormat: "ept", adEnabled: true, rootLevel: 4 },
  { mmu },
);
// The guest, without paging as yet, makes tables of its own: linear 0x7000 is guest frame 5. Each store faults once.
for (const table of [0x1000, 0x2000, 0x3000]) vcpu.store(cpu, table, BigInt(table + 0x1000) | 0x7n);
vcpu.store(cpu, 0x4000 + 7 * 8, 0x5007n);
const controls = { cr0Wp: true, eferNx: true, cr4Smep: true, cr4Smap: true, cr4Pcide: false };
vcpu.setGuestPaging(cpu, { mode: "4-level", cr3: 0x1000, ...controls });
export const pfn = vcpu.access(cpu, 0x7000, "user-write"); // walks both dimensions, faults at the last, walks again
export const fault = vcpu.lastFault(cpu); // an EPT violation at 0x5000 with qualification 0x182
vcpu.access(cpu, 0x8000, "user-read"); // ACCESS_GUEST_PAGE_FAULT: the guest's own #PF, no exit
export const guestFault = vcpu.lastGuestFault(cpu);
vcpu.exitGuest(cpu);
export const guestEntry = cpu.readOnce((ram[4]! + 7 * 8) as Address); // now with Accessed (bit 5) and Dirty (bit 6)
