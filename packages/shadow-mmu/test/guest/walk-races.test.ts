import { type Address, ForwardingCpu, type MemoryOrder } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import { gpteChanged } from "../../src/guest-walk/gpte-changed.js";
import { walkAddr } from "../../src/guest-walk/walk-addr.js";
import { walkableContext } from "./kit/contexts.js";
import { GuestRig } from "./kit/guest-rig.js";
import { A, D, GuestTables, P, U, W } from "./kit/guest-tables.js";

const WRITE = 2;
const GVA = 0x7f12_3456_7000;

/** Lets the guest change its tables before chosen compare-exchanges of a walk. */
class EditingCpu extends ForwardingCpu {
  exchanges = 0;

  constructor(
    rig: GuestRig,
    private readonly before: (exchange: number) => void,
  ) {
    super(rig.cpu);
  }

  override cmpxchg(address: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint {
    this.before(++this.exchanges);
    return this.inner.cmpxchg(address, expected, replacement, order);
  }
}

function guest() {
  const rig = new GuestRig();
  const tables = new GuestTables(rig, 4, P | W | U);
  tables.map(GVA, 0x1234, P | W | U);
  const context = walkableContext(rig);
  const walk = (cpu: EditingCpu) => walkAddr(rig.mmu, cpu, rig.vcpu, context, GVA, WRITE);
  return { rig, tables, walk };
}

describe("an entry changes between the look and the compare-exchange", () => {
  it.each([1, 2, 3, 4])("exchange %i: the walk starts over and takes the new entries", (nth) => {
    const { rig, tables, walk } = guest();
    const level = 5 - nth;
    const entry = tables.entry(GVA, level);
    const cpu = new EditingCpu(rig, (exchange) => {
      // The guest moves what the entry leads to; for a table, to a copy.
      if (exchange !== nth) return;
      if (level === 1) return rig.poke(entry, (0x4321n << 12n) | P | W | U);
      const from = tables.tableGfn(GVA, level - 1);
      for (let at = 0; at < 4096; at += 8) rig.poke(100 * 4096 + at, rig.peek(from * 4096 + at));
      rig.poke(entry, (100n << 12n) | P | W | U);
    });
    const found = walk(cpu);
    expect(found.fault).toBeNull();
    expect(found.gfn).toBe(level === 1 ? 0x4321 : 0x1234);
    if (level > 1) expect(found.tableGfn[level - 1]).toBe(100);
    expect(rig.peek(tables.entry(GVA, 1)) & (A | D)).toBe(A | D);
    expect(rig.peek(entry) & A).toBe(A);
  });

  it("the page is unmapped: the guest gets the fault", () => {
    const { rig, tables, walk } = guest();
    const entry = tables.entry(GVA, 1);
    const cpu = new EditingCpu(rig, (exchange) => {
      if (exchange === 4) rig.poke(entry, 0n);
    });
    expect(walk(cpu).fault).toMatchObject({ errorCode: WRITE });
    expect(rig.peek(entry)).toBe(0n);
    // What was set above stays, as hardware's would.
    expect(rig.peek(tables.entry(GVA, 2)) & A).toBe(A);
  });

  it("another processor sets the same bit: no harm", () => {
    const { rig, tables, walk } = guest();
    const entry = tables.entry(GVA, 4);
    const cpu = new EditingCpu(rig, (exchange) => {
      if (exchange === 1) rig.poke(entry, rig.peek(entry) | A);
    });
    expect(walk(cpu)).toMatchObject({ fault: null, gfn: 0x1234 });
    expect(cpu.exchanges).toBe(4);
  });

  it("a guest that never stops changing an entry keeps the walk busy, not wrong", () => {
    const { rig, tables, walk } = guest();
    const entry = tables.entry(GVA, 1);
    const cpu = new EditingCpu(rig, (exchange) => {
      if (exchange >= 4 && exchange < 50) rig.poke(entry, (BigInt(exchange) << 12n) | P | W | U);
    });
    expect(walk(cpu).gfn).toBe(49);
  });
});

describe("gpteChanged", () => {
  it("compares every level with what the walk read and wrote", () => {
    const { rig, tables, walk } = guest();
    const found = walk(new EditingCpu(rig, () => {}));
    for (const level of [1, 2, 3, 4] as const) {
      const changed = () => gpteChanged(rig.mmu, rig.cpu, rig.vcpu, found, level);
      expect(changed()).toBe(false);
      const gpa = tables.entry(GVA, level);
      const value = rig.peek(gpa);
      rig.poke(gpa, value ^ (1n << 52n));
      expect(changed()).toBe(true);
      rig.poke(gpa, value);
      rig.host.missing.add(Math.floor(gpa / 4096));
      expect(changed()).toBe(true);
      rig.host.missing.clear();
      expect(changed()).toBe(false);
    }
  });

  it("reads the aligned eight entries around a leaf", () => {
    const { rig, tables, walk } = guest();
    for (let page = 0; page < 24; page++) tables.map(GVA + page * 4096, 0x2000 + page, P | A);
    const found = walkAddr(rig.mmu, rig.cpu, rig.vcpu, rig.vcpu.rootMmu, GVA + 10 * 4096, 0);
    expect(walk(new EditingCpu(rig, () => {})).fault).not.toBeNull();
    expect(gpteChanged(rig.mmu, rig.cpu, rig.vcpu, found, 1)).toBe(false);
    const frames = found.prefetchPtes.map((gpte) => Number(gpte >> 12n));
    const first = 10 - ((GVA / 4096 + 10) % 8);
    expect(frames).toEqual(Array.from({ length: 8 }, (_, index) => 0x2000 + first + index));
  });
});
