import { linux73, linux615, resetRsvdsBitsMask, updatePermissionBitmask } from "@kvm-age/spte";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { neededPermission } from "../src/access/access-kind.js";
import { RIGHT_EXECUTE, RIGHT_USER, RIGHT_WRITE, x86Grants } from "../src/access/rights.js";
import { x86Format } from "../src/format/x86-format.js";
import type { AccessKind } from "../src/index.js";
import { ACCESS_GUEST_PAGE_FAULT } from "../src/index.js";
import { GuestTables } from "./support/guest-tables.js";
import { Rig } from "./support/rig.js";

const KINDS: readonly AccessKind[] = ["read", "write", "fetch", "user-read", "user-write", "user-fetch"];
const RIGHTS = [0, 1, 2, 3, 4, 5, 6, 7];
const CONTROLS = Array.from({ length: 16 }, (_, bits) => ({
  cr0Wp: (bits & 1) !== 0,
  eferNx: (bits & 2) !== 0,
  cr4Smep: (bits & 4) !== 0,
  cr4Smap: (bits & 8) !== 0,
}));

/** Index of KVM's permission words: bit 0 write, bit 1 user, bit 3 fetch. */
function kindIndex(kind: AccessKind): number {
  const user = kind.startsWith("user-") ? 2 : 0;
  if (kind.endsWith("write")) return user | 1;
  return kind.endsWith("fetch") ? user | 8 : user;
}

function errorBits(kind: AccessKind): number {
  const index = kindIndex(kind);
  return ((index & 1) << 1) | ((index & 2) << 1) | ((index & 8) << 1);
}

describe.each([linux615, linux73])("access rights against update_permission_bitmask of $name", (rules) => {
  it.each(CONTROLS)("%o", (controls) => {
    const words = updatePermissionBitmask(rules, { ept: false, tdp: false, ...controls });
    const grants = x86Grants(controls);
    for (const rights of RIGHTS) {
      const access =
        rules.accReadMask |
        (rights & RIGHT_WRITE ? rules.accWriteMask : 0) |
        (rights & RIGHT_USER ? rules.accUserMask : 0) |
        (rights & RIGHT_EXECUTE ? rules.accExecMask : 0);
      for (const kind of KINDS) {
        const faults = ((words[kindIndex(kind)]! >> access) & 1) !== 0;
        expect((grants[rights]! & neededPermission(kind)) === 0, `${kind} of ${rights}`).toBe(faults);
      }
    }
  });
});

describe.each(["pae", "4-level"] as const)("a guest with %s paging", (mode) => {
  it("has exactly these faults, with their error codes, and the same from the TLB", () => {
    const rig = new Rig("ept");
    const tables = new GuestTables(rig, mode);
    rig.map(0x500, 0x100500);
    const vcpu = rig.vcpu();
    const pages = RIGHTS.map((rights) => {
      const gva = 0x40000000 + rights * 4096;
      const bits = 1n | (BigInt(rights & 3) << 1n) | (rights & RIGHT_EXECUTE ? 0n : 1n << 63n);
      const leaf = tables.map(gva, 0x500, 1, bits);
      return { gva, leaf, bits: (0x500n << 12n) | bits };
    });
    for (const controls of CONTROLS) {
      const words = updatePermissionBitmask(linux615, { ept: false, tdp: false, ...controls });
      const { accWriteMask, accUserMask, accExecMask } = linux615;
      vcpu.setGuestPaging(rig.cpu, tables.state(controls));
      for (const [rights, { gva, leaf, bits }] of pages.entries()) {
        // Bit 63 is reserved without EFER.NXE: such pages are another test's.
        if (!controls.eferNx && (rights & RIGHT_EXECUTE) === 0) continue;
        rig.cpu.writeOnce(leaf, bits);
        const access =
          (rights & RIGHT_WRITE ? accWriteMask : 0) |
          (rights & RIGHT_USER ? accUserMask : 0) |
          (rights & RIGHT_EXECUTE ? accExecMask : 0);
        for (const kind of [...KINDS, ...KINDS]) {
          const faults = ((words[kindIndex(kind)]! >> access) & 1) !== 0;
          const result = vcpu.access(rig.cpu, gva, kind);
          expect(result, `${kind} of ${rights} under ${JSON.stringify(controls)}`).toBe(
            faults ? ACCESS_GUEST_PAGE_FAULT : 0x100500,
          );
          const fetchBit = controls.eferNx || controls.cr4Smep ? 0x1f : 0xf;
          if (faults)
            expect(vcpu.lastGuestFault(rig.cpu)).toEqual({
              gva,
              errorCode: (1 | errorBits(kind)) & fetchBit,
            });
        }
      }
    }
    expect(rig.faults).toEqual([]);
  });
});

const rootLevels = [3, 4, 5] as const;

it("reserves the bits that KVM's guest walk reserves", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...rootLevels),
      fc.boolean(),
      fc.boolean(),
      fc.integer({ min: 32, max: 52 }),
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.integer({ min: 0, max: 63 }), { maxLength: 6 }),
      (rootLevel, eferNx, amd, maxPhyAddr, anyLevel, bits) => {
        const level = Math.min(anyLevel, rootLevel);
        const entry = bits.reduce((value, bit) => value | (1n << BigInt(bit)), 1n);
        const paBitsRsvd = (2n ** 64n - 1n) & ~(2n ** BigInt(maxPhyAddr) - 1n);
        const rules = resetRsvdsBitsMask({ rootLevel, paBitsRsvd, nx: eferNx, gbpages: true, amd });
        const large = (entry >> 7n) & 1n;
        const expected = (entry & rules.rsvdBitsMask[Number(large) as 0 | 1][level - 1]!) !== 0n;
        const format = x86Format({ rootLevel, maxPhyAddr, eferNx, amd });
        const leaf = level === 1 || (level <= 3 && large !== 0n);
        const low = Number(entry & 0xffffffffn);
        expect(format.isReserved(low, Number(entry >> 32n), level, leaf)).toBe(expected);
      },
    ),
    { numRuns: 3000 },
  );
});
