import type { Cpu } from "@kvm-age/machine";
import { arenaDifference, ReplayingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import type { Vcpu, VcpuInit } from "../src/index.js";
import { GuestTables } from "./support/guest-tables.js";
import { Rig } from "./support/rig.js";

type Operation = (vcpu: Vcpu, cpu: Cpu) => unknown;

const state = (tables: GuestTables) => tables.state({ cr4Pcide: tables.mode === "4-level" });

/** What a guest does, operation by operation: misses, hits, faults of each kind, and every change of its paging. */
function operations(tables: GuestTables): Operation[] {
  const { cr3 } = tables;
  return [
    (vcpu, cpu) => vcpu.setGuestPaging(cpu, state(tables)),
    (vcpu, cpu) => vcpu.access(cpu, 0x5000, "user-write"),
    (vcpu, cpu) => vcpu.access(cpu, 0x5000, "user-write"),
    (vcpu, cpu) => vcpu.access(cpu, 0x4000_1000, "fetch"),
    (vcpu, cpu) => vcpu.access(cpu, 0x6000, "read"),
    (vcpu, cpu) => vcpu.access(cpu, 0x7000, "write"),
    (vcpu, cpu) => vcpu.store(cpu, 0x8008, 0x1234n),
    (vcpu, cpu) => vcpu.load(cpu, 0x8008, "user-read"),
    (vcpu, cpu) => vcpu.compareExchange(cpu, 0x8008, 0x1234n, 5n),
    (vcpu, cpu) => vcpu.invlpg(cpu, 0x5000),
    (vcpu, cpu) => vcpu.access(cpu, 0x5000, "read"),
    (vcpu, cpu) => vcpu.loadCr3(cpu, cr3, tables.mode === "4-level" ? { pcid: 3 } : {}),
    (vcpu, cpu) => vcpu.access(cpu, 0x5000, "read"),
    (vcpu, cpu) => vcpu.enterL2(cpu, state(tables)),
    (vcpu, cpu) => vcpu.access(cpu, 0x5000, "read"),
    (vcpu, cpu) => vcpu.flushGuestTlb(cpu),
    (vcpu, cpu) => vcpu.exitL2(cpu),
    (vcpu, cpu) => vcpu.access(cpu, 0x5000, "read"),
  ];
}

const cases: [string, Partial<VcpuInit> & { pageFormat: "ept" | "npt" }, "pae" | "4-level"][] = [
  ["EPT", { pageFormat: "ept" }, "4-level"],
  ["EPT without A/D", { pageFormat: "ept", adEnabled: false }, "pae"],
  ["NPT", { pageFormat: "npt" }, "4-level"],
];

/** A guest after the operations. */
function play(
  init: (typeof cases)[number][1],
  mode: "pae" | "4-level",
  perform: (cpu: Cpu, operation: (cpu: Cpu) => void) => void,
): { readonly vcpu: Vcpu; readonly rig: Rig } {
  const rig = new Rig(init.pageFormat);
  const tables = new GuestTables(rig, mode);
  rig.map(0x500, 0x100500);
  rig.map(0x200, 0x140000, 2);
  tables.map(0x5000, 0x500);
  tables.map(0x4000_0000, 0x200, 2);
  tables.map(0x6000, 0x900);
  tables.map(0x7000, 0x500, 1, 0x1n);
  tables.map(0x8000, tables.page() / 4096);
  rig.onFault = () => {
    // Called again at each replay: only the first call may write.
    if ((rig.cpu.readOnce(rig.entry(0x900, 1)) & 7n) === 0n) rig.map(0x900, 0x100900);
    return "retry";
  };
  // Its tables are there already: the frame allocator is no part of the replay.
  rig.entry(0x900, 1);
  const vcpu = rig.vcpu(init);
  for (const operation of operations(tables)) perform(rig.cpu, (cpu) => void operation(vcpu, cpu));
  return { vcpu, rig };
}

describe.each(cases)("a guest over %s", (_name, init, mode) => {
  it("leaves the same arena when it is suspended at every access and replayed", () => {
    let suspensions = 0;
    const straight = play(init, mode, (cpu, operation) => operation(cpu));
    const replayed = play(init, mode, (cpu, operation) => {
      const replaying = new ReplayingCpu(cpu);
      replaying.run(operation);
      suspensions += replaying.suspensions;
    });
    expect(suspensions).toBeGreaterThan(500);
    const { vcpu, rig } = replayed;
    expect(arenaDifference(rig.machine.arena, straight.rig.machine.arena)).toBeNull();
    expect(vcpu.statistics(rig.cpu)).toMatchObject({ faults: 1, guestPageFaults: 1 });
  });
});
