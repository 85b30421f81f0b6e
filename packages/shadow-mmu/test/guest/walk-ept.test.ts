import { linux73, linux615, type RuleSet } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { walkAddr } from "../../src/guest-walk/walk-addr.js";
import type { ShadowEptMode } from "../../src/role/kvm-calc-shadow-ept-root-page-role.js";
import { walkableEptContext } from "./kit/contexts.js";
import { GuestRig } from "./kit/guest-rig.js";
import {
  EPT_A,
  EPT_D,
  EPT_R,
  EPT_RWX,
  EPT_W,
  EPT_WB,
  EPT_X,
  EPT_XU,
  GuestTables,
  PS,
} from "./kit/guest-tables.js";

const READ_615 = 4;
const READ_73 = 0;
const WRITE = 2;
const FETCH = 16;
const USER_FETCH = FETCH | 4;
const GPA = 0x1_2345_6000;

const LEAF = EPT_RWX | EPT_WB | EPT_A | EPT_D;

function l1(rules: RuleSet, mode: Partial<ShadowEptMode> = {}, tableFlags = EPT_RWX | EPT_A) {
  const rig = new GuestRig({ mode: "ept", ruleSet: rules });
  const context = walkableEptContext(rig, mode);
  const tables = new GuestTables(rig, mode.level ?? 4, tableFlags);
  const walk = (access: number) => walkAddr(rig.mmu, rig.cpu, rig.vcpu, context, GPA, access);
  return { rig, tables, walk };
}

describe.each([
  [linux73, READ_73],
  [linux615, READ_615],
])("L1's EPT under $name", (rules, READ) => {
  it.each([4, 5] as const)("%i levels", (level) => {
    const { tables, walk } = l1(rules, { level });
    tables.map(GPA, 0x1234, LEAF);
    expect(walk(READ)).toMatchObject({ fault: null, gfn: 0x1234, level: 1, maxLevel: level });
  });

  it.each([2, 3])("large pages of level %i", (level) => {
    const { tables, walk } = l1(rules);
    tables.map(GPA, 0x40000, LEAF | PS, level);
    const inside = (GPA / 4096) % 512 ** (level - 1);
    expect(walk(READ)).toMatchObject({ fault: null, gfn: 0x40000 + inside, level });
  });

  it("A and D are bits 8 and 9, if EPTP says that they are kept", () => {
    const { rig, tables, walk } = l1(rules, {}, EPT_RWX);
    tables.map(GPA, 0x1234, EPT_RWX | EPT_WB);
    const leaf = tables.entry(GPA, 1);
    expect(walk(READ).pteAccess & rules.accWriteMask).toBe(0);
    expect(rig.peek(leaf) & (EPT_A | EPT_D)).toBe(EPT_A);
    expect(walk(WRITE).pteAccess & rules.accWriteMask).toBe(rules.accWriteMask);
    expect(rig.peek(leaf) & (EPT_A | EPT_D)).toBe(EPT_A | EPT_D);
    expect(rig.peek(tables.entry(GPA, 4)) & (EPT_A | EPT_D)).toBe(EPT_A);
  });

  it("without A and D nothing is written, and clean pages are writable", () => {
    const { rig, tables, walk } = l1(rules, { accessedDirty: false }, EPT_RWX);
    tables.map(GPA, 0x1234, EPT_RWX | EPT_WB);
    expect(walk(WRITE).fault).toBeNull();
    expect(walk(READ).pteAccess & rules.accWriteMask).toBe(rules.accWriteMask);
    expect(rig.peek(tables.entry(GPA, 1))).toBe((0x1234n << 12n) | EPT_RWX | EPT_WB);
    expect(rig.peek(tables.entry(GPA, 4)) & EPT_A).toBe(0n);
  });

  it.each([
    ["read of nothing", READ, 0n, 0x01n],
    ["write to nothing", WRITE, 0n, 0x02n],
    ["fetch of nothing", FETCH, 0n, 0x04n],
    ["write to a readable page", WRITE, EPT_R | EPT_X, 0x2an],
    ["fetch of a page without X", FETCH, EPT_R | EPT_W, 0x1cn],
  ])("violation: %s", (_name, access, permissions, exitQualification) => {
    const { tables, walk } = l1(rules);
    tables.map(GPA, 0x1234, permissions === 0n ? 0n : permissions | EPT_WB | EPT_A | EPT_D);
    expect(walk(access).fault).toMatchObject({ address: GPA, nested: true, exitQualification });
  });

  it("the qualification tells what the tables above allow", () => {
    const { rig, tables, walk } = l1(rules);
    tables.map(GPA, 0x1234, LEAF);
    const above = tables.entry(GPA, 3);
    rig.poke(above, (rig.peek(above) & ~EPT_RWX) | EPT_R);
    expect(walk(WRITE).fault).toMatchObject({ exitQualification: 0x0an });
  });

  it.each([
    ["writable but not readable", EPT_W | EPT_WB],
    ["write and execute without read", EPT_W | EPT_X | EPT_WB],
    ["memory type 2", EPT_R | (2n << 3n)],
    ["an address bit beyond MAXPHYADDR", EPT_R | EPT_WB | (1n << 46n)],
    ["execute only", EPT_X | EPT_WB],
  ])("misconfiguration: %s", (_name, leaf) => {
    const { tables, walk } = l1(rules);
    tables.map(GPA, 0x1234, leaf);
    const { fault } = walk(FETCH);
    expect(fault).toEqual({ address: GPA, errorCode: 9, nested: true });
  });

  it("misconfiguration: memory type bits in an entry that points to a table", () => {
    const { rig, tables, walk } = l1(rules);
    tables.map(GPA, 0x1234, LEAF);
    const above = tables.entry(GPA, 2);
    rig.poke(above, rig.peek(above) | EPT_WB);
    expect(walk(READ).fault).toMatchObject({ errorCode: (READ & 4) | 9 });
  });

  it("execute only, where L1 has the capability", () => {
    const { tables, walk } = l1(rules, { executeOnly: true });
    tables.map(GPA, 0x1234, EPT_X | EPT_WB | EPT_A | EPT_D);
    expect(walk(FETCH)).toMatchObject({ fault: null, pteAccess: rules.accExecMask });
    expect(walk(READ).fault).toMatchObject({ exitQualification: 0x21n });
  });
});

describe("mode-based execute control (7.3)", () => {
  const mode = { modeBasedExecute: true };

  it("a user fetch asks bit 10, a supervisor fetch bit 2", () => {
    const { rig, tables, walk } = l1(linux73, mode, EPT_RWX | EPT_XU | EPT_A);
    tables.map(GPA, 0x1234, EPT_R | EPT_XU | EPT_WB | EPT_A | EPT_D);
    expect(walk(USER_FETCH).fault).toBeNull();
    // Bit 6: user execution is allowed.
    expect(walk(FETCH).fault).toMatchObject({ exitQualification: 0x4cn });
    rig.poke(tables.entry(GPA, 1), (0x1234n << 12n) | EPT_R | EPT_X | EPT_WB | EPT_A | EPT_D);
    expect(walk(FETCH).fault).toBeNull();
    expect(walk(USER_FETCH).fault).toMatchObject({ exitQualification: 0x2cn });
  });

  it("bit 10 alone is present, and a misconfiguration without execute-only entries", () => {
    const only = EPT_XU | EPT_WB | EPT_A | EPT_D;
    const flags = EPT_RWX | EPT_XU | EPT_A;
    const without = l1(linux73, mode, flags);
    without.tables.map(GPA, 0x1234, only);
    expect(without.walk(USER_FETCH).fault).toMatchObject({ errorCode: 13 });
    const capable = l1(linux73, { ...mode, executeOnly: true }, flags);
    capable.tables.map(GPA, 0x1234, only);
    expect(capable.walk(USER_FETCH)).toMatchObject({ fault: null, pteAccess: linux73.accUserMask });
    const off = l1(linux73, { executeOnly: true }, flags);
    off.tables.map(GPA, 0x1234, only);
    expect(off.walk(USER_FETCH).fault).toMatchObject({ errorCode: 4 });
  });

  it("bit 10 is ignored where L1 has not enabled it", () => {
    const { tables, walk } = l1(linux73);
    tables.map(GPA, 0x1234, EPT_R | EPT_X | EPT_WB | EPT_A | EPT_D);
    expect(walk(USER_FETCH).fault).toBeNull();
  });
});
