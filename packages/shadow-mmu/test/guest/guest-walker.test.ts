import { linux73, linux615, type PermissionTable, type RuleSet } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { makeGuestWalker } from "../../src/guest-walk/guest-walker.js";
import { kvmCalcCpuRole } from "../../src/role/kvm-calc-cpu-role.js";
import { kvmCalcShadowEptRootPageRole } from "../../src/role/kvm-calc-shadow-ept-root-page-role.js";
import { MmuKind } from "../../src/vcpu/kvm-mmu.js";
import { GuestRig } from "./kit/guest-rig.js";
import { longMode } from "./kit/registers.js";

interface Mode {
  readonly wp: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  readonly nx: boolean;
}

function walkerFor(rules: RuleSet, mode: Mode, kind: MmuKind = MmuKind.shadow) {
  const { mmu, format } = new GuestRig({ ruleSet: rules });
  const registers = longMode({ cr0Wp: mode.wp, cr4Smep: mode.smep, cr4Smap: mode.smap, eferNx: mode.nx });
  const guestMode = kind === MmuKind.nestedNpt;
  return makeGuestWalker(format, kind, kvmCalcCpuRole(mmu, registers, { smm: false, guestMode }));
}

function eptWalkerFor(rules: RuleSet, modeBasedExecute: boolean, accessedDirty = true) {
  const { format } = new GuestRig({ ruleSet: rules, mode: "ept" });
  const mode = { level: 4, accessedDirty, executeOnly: false, modeBasedExecute } as const;
  return makeGuestWalker(format, MmuKind.nestedEpt, kvmCalcShadowEptRootPageRole(rules, mode));
}

function hex(table: PermissionTable, digits: number): string {
  return table.map((word) => word.toString(16).padStart(digits, "0")).join(" ");
}

function rowMode(row: string): Mode {
  const [wp, smep, smap, nx] = [...row].map((digit) => digit === "1");
  return { wp: wp!, smep: smep!, smap: smap!, nx: nx! };
}

describe("permission words of the kernel, by WP SMEP SMAP NX", () => {
  it.each([
    ["1001", "00 33 0f 3f 00 33 0f 3f 55 77 5f 7f 55 77 5f 7f"],
    ["1111", "f0 f3 0f 3f 00 33 0f 3f f5 f7 5f 7f f5 f7 5f 7f"],
    ["1101", "00 33 0f 3f 00 33 0f 3f f5 f7 5f 7f f5 f7 5f 7f"],
    ["1000", "00 33 0f 3f 00 33 0f 3f 00 33 0f 3f 00 33 0f 3f"],
    ["0001", "00 00 0f 3f 00 00 0f 3f 55 55 5f 7f 55 55 5f 7f"],
    ["0000", "00 00 0f 3f 00 00 0f 3f 00 00 0f 3f 00 00 0f 3f"],
    ["0110", "f0 f0 0f 3f 00 00 0f 3f f0 f0 0f 3f f0 f0 0f 3f"],
  ])("6.15 %s", (row, table) => {
    expect(hex(walkerFor(linux615, rowMode(row)).permissions, 2)).toBe(table);
  });

  it.each([
    ["1001", "5555 3333 5f5f 3f3f 5555 3333 5f5f 3f3f 00ff 33ff 0fff 3fff 00ff 33ff 0fff 3fff"],
    ["1111", "f5f5 f3f3 5f5f 3f3f 5555 3333 5f5f 3f3f f0ff f3ff 0fff 3fff f0ff f3ff 0fff 3fff"],
    ["1101", "5555 3333 5f5f 3f3f 5555 3333 5f5f 3f3f f0ff f3ff 0fff 3fff f0ff f3ff 0fff 3fff"],
    ["1000", "5555 3333 5f5f 3f3f 5555 3333 5f5f 3f3f 0000 3333 0f0f 3f3f 0000 3333 0f0f 3f3f"],
    ["0001", "5555 0000 5f5f 3f3f 5555 0000 5f5f 3f3f 00ff 00ff 0fff 3fff 00ff 00ff 0fff 3fff"],
    ["0000", "5555 0000 5f5f 3f3f 5555 0000 5f5f 3f3f 0000 0000 0f0f 3f3f 0000 0000 0f0f 3f3f"],
    ["0110", "f5f5 f0f0 5f5f 3f3f 5555 0000 5f5f 3f3f f0f0 f0f0 0f0f 3f3f f0f0 f0f0 0f0f 3f3f"],
  ])("7.3 %s", (row, table) => {
    expect(hex(walkerFor(linux73, rowMode(row)).permissions, 4)).toBe(table);
  });

  it("EPT", () => {
    expect(hex(eptWalkerFor(linux615, false).permissions, 2)).toBe(
      "00 33 0f 3f 00 33 0f 3f 55 77 5f 7f 55 77 5f 7f",
    );
    expect(hex(eptWalkerFor(linux73, false).permissions, 4)).toBe(
      "5555 3333 5555 3333 5555 3333 5555 3333 00ff 33ff 00ff 33ff 00ff 33ff 00ff 33ff",
    );
    expect(hex(eptWalkerFor(linux73, true).permissions, 4)).toBe(
      "5555 3333 5555 3333 5555 3333 5555 3333 00ff 33ff 0f0f 3f3f 00ff 33ff 0f0f 3f3f",
    );
  });
});

/** One kind of access and one set of permissions, as the manuals speak of them. */
interface Access {
  readonly write: boolean;
  readonly user: boolean;
  readonly fetch: boolean;
  readonly ac: boolean;
  readonly mayRead: boolean;
  readonly mayWrite: boolean;
  readonly mayUser: boolean;
  readonly mayExec: boolean;
}

function accesses(rules: RuleSet): [index: number, value: number, access: Access][] {
  const all: [number, number, Access][] = [];
  for (let index = 0; index < 16; index++) {
    for (let value = 0; value <= rules.accAll; value++) {
      all.push([
        index,
        value,
        {
          write: (index & 1) !== 0,
          user: (index & 2) !== 0,
          ac: (index & 4) !== 0,
          fetch: (index & 8) !== 0,
          mayRead: rules.accReadMask === 0 || (value & rules.accReadMask) !== 0,
          mayWrite: (value & rules.accWriteMask) !== 0,
          mayUser: (value & rules.accUserMask) !== 0,
          mayExec: (value & rules.accExecMask) !== 0,
        },
      ]);
    }
  }
  return all;
}

/** Intel SDM vol. 3, 4.6 "Access rights". */
function pagingFaults(mode: Mode, a: Access): boolean {
  if (!a.write && !a.fetch && !a.mayRead) return true;
  if (a.user && !a.mayUser) return true;
  if (a.write && !a.mayWrite && (a.user || mode.wp)) return true;
  if (a.fetch && mode.nx && !a.mayExec) return true;
  if (a.user || !a.mayUser) return false;
  return a.fetch ? mode.smep : mode.smap && !a.ac;
}

describe("permission words against the manual, every mode, access and permission", () => {
  const modes = Array.from({ length: 16 }, (_, bits) => rowMode(bits.toString(2).padStart(4, "0")));

  it.each([linux73, linux615])("$name: the guest's own tables", (rules) => {
    for (const mode of modes) {
      const { permissions } = walkerFor(rules, mode);
      for (const [index, value, access] of accesses(rules)) {
        const faults = ((permissions[index]! >> value) & 1) === 1;
        expect([mode, access, faults]).toEqual([mode, access, pagingFaults(mode, access)]);
      }
    }
  });

  it.each([false, true])("EPT in 7.3, mode-based execute control %s", (modeBased) => {
    const { permissions } = eptWalkerFor(linux73, modeBased);
    for (const [index, value, a] of accesses(linux73)) {
      const mayFetch = modeBased && a.user ? a.mayUser : a.mayExec;
      const read = !a.write && !a.fetch && !a.mayRead;
      const expected = read || (a.write && !a.mayWrite) || (a.fetch && !mayFetch);
      expect([a, ((permissions[index]! >> value) & 1) === 1]).toEqual([a, expected]);
    }
  });
});

describe("what else follows from the mode", () => {
  it("error codes tell fetches apart with NX or SMEP", () => {
    for (const rules of [linux73, linux615]) {
      const has = (row: string) => walkerFor(rules, rowMode(row)).hasPferrFetch;
      expect([has("1000"), has("1001"), has("1100"), has("1101")]).toEqual([false, true, true, true]);
      expect(eptWalkerFor(rules, false).hasPferrFetch).toBe(false);
    }
  });

  it("A and D: always but for EPT without them", () => {
    expect(walkerFor(linux73, rowMode("1001"))).toMatchObject({ accessedMask: 0x20n, dirtyMask: 0x40n });
    expect(eptWalkerFor(linux73, false)).toMatchObject({ accessedMask: 0x100n, dirtyMask: 0x200n });
    expect(eptWalkerFor(linux73, false, false)).toMatchObject({ accessedMask: 0n, dirtyMask: 0n });
  });

  it("AMD reserves bit 8 at the top of nested tables, Intel guests use it", () => {
    const bit8 = (kind: MmuKind) =>
      (walkerFor(linux73, rowMode("1001"), kind).rsvdBits.rsvdBitsMask[0][3]! >> 8n) & 1n;
    expect([bit8(MmuKind.shadow), bit8(MmuKind.nestedNpt)]).toEqual([0n, 1n]);
  });

  it("an EPT entry with user-execute alone is present only under mode-based control", () => {
    expect(eptWalkerFor(linux73, false).presentMask).toBe(7n);
    expect(eptWalkerFor(linux73, true).presentMask).toBe(0x407n);
  });
});
