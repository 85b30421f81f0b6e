import { type TraceEvent, traceTo } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import { walkMmuGvaToGpa } from "../../src/guest-walk/walk-mmu-gva-to-gpa.js";
import { initKvmNestedMmu } from "../../src/vcpu/init-kvm-nested-mmu.js";
import { kvmInitMmu } from "../../src/vcpu/kvm-init-mmu.js";
import { kvmInitShadowNptMmu } from "../../src/vcpu/kvm-init-shadow-npt-mmu.js";
import { loadRootMmu } from "../../src/vcpu/nested-context.js";
import { GuestRig } from "./kit/guest-rig.js";
import { A, D, GuestTables, P, U, W } from "./kit/guest-tables.js";
import { longMode } from "./kit/registers.js";

const READ = 0;
const WRITE = 2;
const FETCH = 16;
const TABLE = P | W | U;
const PAGE = P | W | U;
const GVA = 0x40_1234;

/** L1 pages from frame 1 on; its tables for L2 are from frame 32 on, and map L2's frames 64 further up. L2 pages from its frame 1 on. */
function nestedGuest(l2Pages: boolean) {
  const rig = new GuestRig({ mode: "npt" });
  const l1 = new GuestTables(rig, 4, TABLE);
  const nested = new GuestTables(rig, 4, TABLE, 32);
  for (let gfn = 0; gfn < 32; gfn++) nested.map(gfn * 4096, gfn + 64, PAGE);
  const l2Memory = {
    peek: (gpa: number) => rig.peek(gpa + 64 * 4096),
    poke: (gpa: number, value: bigint) => rig.poke(gpa + 64 * 4096, value),
  };
  const l2 = new GuestTables(l2Memory, 4, TABLE);
  kvmInitMmu(rig.mmu, rig.cpu, rig.vcpu, longMode({}));
  const registers = longMode(l2Pages ? {} : { cr0Pg: false });
  initKvmNestedMmu(rig.mmu, rig.cpu, rig.vcpu, registers);
  const enter = () =>
    kvmInitShadowNptMmu(rig.mmu, rig.cpu, rig.vcpu, { nCr3: 32 * 4096, cr0Wp: true, eferNx: true });
  return { rig, l1, nested, l2, enter };
}

function translate(rig: GuestRig, addr: number, access: number): unknown {
  return walkMmuGvaToGpa(rig.mmu, rig.cpu, rig.vcpu, addr, access);
}

describe("of L1, whose tables hardware walks", () => {
  it("walks them, and sets A and D there", () => {
    const { rig, l1 } = nestedGuest(true);
    l1.map(GVA, 0x12, PAGE);
    expect(translate(rig, GVA, WRITE)).toBe(0x12234);
    expect(rig.peek(l1.entry(GVA, 1)) & (A | D)).toBe(A | D);
    expect(rig.peek(l1.entry(GVA, 4)) & (A | D)).toBe(A);
  });

  it("says which fault the guest would take", () => {
    const { rig } = nestedGuest(true);
    expect(translate(rig, GVA, WRITE)).toMatchObject({ address: GVA, errorCode: WRITE, nested: false });
  });
});

describe("of L2 under nested paging", () => {
  it("reads each of its tables where L1's tables say, and translates the page as well", () => {
    const { rig, l2, enter } = nestedGuest(true);
    l2.map(GVA, 0x12, PAGE);
    enter();
    expect(translate(rig, GVA, READ)).toBe((0x12 + 64) * 4096 + 0x234);
    loadRootMmu(rig.cpu, rig.vcpu);
    expect(translate(rig, GVA, READ)).toMatchObject({ errorCode: 0 });
  });

  it("in the kernel's order: before each of L2's entries a walk of L1's tables that reads and writes as a user", () => {
    const { rig, l2, nested, enter } = nestedGuest(true);
    l2.map(GVA, 0x12, PAGE | A);
    enter();
    const events: TraceEvent[] = [];
    const cpu = traceTo((_id, event) => events.push(event))(rig.cpu);
    walkMmuGvaToGpa(rig.mmu, cpu, rig.vcpu, GVA, FETCH);
    const walks = events.filter(({ name }) => name === "kvm_mmu_pagetable_walk");
    const tables = [4, 3, 2, 1].map((level) => BigInt(l2.tableGfn(GVA, level) * 4096));
    expect(walks.map(({ fields }) => [fields["addr"], fields["pferr"]])).toEqual([
      [BigInt(GVA), FETCH],
      ...tables.map((gpa) => [gpa, WRITE | 4]),
      [0x12000n, FETCH | 4],
    ]);
    for (const gpa of tables) expect(rig.peek(nested.entry(Number(gpa), 1)) & (A | D)).toBe(A | D);
    expect(rig.peek(nested.entry(0x12000, 1)) & (A | D)).toBe(A);
  });

  it("ends in L1's fault where L1 maps a table of L2's read-only", () => {
    const { rig, l2, nested, enter } = nestedGuest(true);
    l2.map(GVA, 0x12, PAGE);
    const table = l2.tableGfn(GVA, 2) * 4096;
    rig.poke(nested.entry(table, 1), rig.peek(nested.entry(table, 1)) & ~W);
    enter();
    expect(translate(rig, GVA, READ)).toMatchObject({ address: table, nested: true });
  });

  it("without paging is L1's translation alone", () => {
    const { rig, enter } = nestedGuest(false);
    enter();
    expect(translate(rig, 0x5678, READ)).toBe((5 + 64) * 4096 + 0x678);
  });
});
