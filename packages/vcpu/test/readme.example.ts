import { type Address, flushDomainBytes, ThreadMachine } from "@kvm-age/machine";
import { createVcpu, type VcpuMmu } from "../src/index.js";

const machine = ThreadMachine.create({ arenaBytes: 1 << 22 });
const cpu = machine.attach();
const tables = [4, 3, 2, 1].map(() => machine.frames.allocateFrame(cpu));
// A root and the three tables below it, entry 0 of each: EPT read, write, execute.
for (const above of [0, 1, 2]) cpu.writeOnce(tables[above]!, BigInt(tables[above + 1]!) | 0x7n);
const entryOf = (gpa: number): Address => (tables[3]! + (gpa / 4096) * 8) as Address;
const mmu: VcpuMmu = {
  rootHpa: () => tables[0]!,
  load() {},
  handleRequests() {},
  handlePageFault(on, gpa) {
    on.writeOnce(entryOf(gpa), 0x123456_037n + BigInt(gpa));
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
export const pfn = vcpu.access(cpu, 0x5000, "write"); // faults, is mapped, walks again
vcpu.exitGuest(cpu);
export const fault = vcpu.lastFault(cpu); // an EPT violation with qualification 0x182
export const entry = cpu.readOnce(entryOf(0x5000)); // now with Accessed (bit 8) and Dirty (bit 9)
