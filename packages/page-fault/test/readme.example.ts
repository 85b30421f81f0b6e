import { ThreadMachine } from "@kvm-age/machine";
import { createMemslots, kvmSetMemoryRegion, noSecondaryMmu } from "@kvm-age/memslot";
import { createSpteFormat, kvmCalcTdpMmuRootPageRole, toGfn, toPfn, toSpte } from "@kvm-age/spte";
import * as fault from "../src/index.js";

const machine = ThreadMachine.create({ arenaBytes: 16 << 20 });
const cpu = machine.attach();
const memslots = createMemslots(cpu, machine, { maxGfn: toGfn(0xfffff) });
const memory = { guestPhysAddr: 0x100000, memorySize: 0x200000, userspaceAddr: 0x7f0000100000 };
kvmSetMemoryRegion(memslots, cpu, noSecondaryMmu, { slot: 0, flags: 1, ...memory });
const format = createSpteFormat({ mode: "ept" });
const statistics = new fault.MmuStatistics(machine.frames.allocateSpan(cpu, fault.MMU_STATISTICS_BYTES));
const flushDomain = { address: machine.frames.allocateSpan(cpu, 4096), maxMembers: 1 };
const options = { nxHugePages: false, cpuDirtyLog: false, maxGfnExclusive: toGfn(0x100000) };
const mmu = { memslots, format, statistics, flushDomain, ...options };

// Page tables of one entry: a leaf that lost W to the dirty log.
const write = new fault.KvmPageFault(0x123000, 3, false);
write.slot = memslots.gfnToMemslot(cpu, 0, write.gfn);
const page = {
  level: 1,
  slot: write.slot,
  gfn: write.gfn,
  pfn: toPfn(0x12345),
  oldSpte: toSpte(0n),
} as const;
const role = kvmCalcTdpMmuRootPageRole(format, { level: 4 });
const access = { hostWritable: true, pteAccess: format.rules.accAll, prefetch: false, synchronizing: false };
const leaf = fault.makeLeafSpte(mmu, cpu, fault.noShadowPages, { role, ...page, ...access });
const sptep = machine.frames.allocateFrame(cpu, BigInt.asUintN(64, leaf.spte & ~2n));
const lastSpte = () => ({ sptep, oldSpte: toSpte(cpu.readOnce(sptep)), level: 1 }) as const;
const walk: fault.LocklessWalk = { begin: () => {}, lastSpte, end: () => {} };

const results = [1, 2].map(() => fault.fastPageFault(mmu, cpu, 0, write, walk));
const names = results.map((result) => Object.keys(fault.RetPf)[result]);
export const text: string = `${names.join(", then ")}; pf_fast ${statistics.read(cpu).pf_fast}`;
