import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createSpteFormat,
  InvalidRoleFieldError,
  type KvmMmuPageRole,
  kvmCalcTdpMmuRootPageRole,
  kvmMmuRoleAsId,
  linux73,
  linux615,
  makeRole,
  roleAccess,
  roleAdDisabled,
  roleDirect,
  roleFields,
  roleGuestMode,
  roleInvalid,
  roleLevel,
  roleSmm,
  UnknownRoleFieldError,
  withRoleAccess,
  withRoleInvalid,
  withRoleLevel,
} from "../src/index.js";
import { v73, v615 } from "./formats.js";

describe("makeRole", () => {
  it.each([
    ["level", { level: 5 }, 0x5, 0x5],
    ["4-byte gpte", { has4ByteGpte: true }, 0x10, 0x10],
    ["quadrant", { quadrant: 3 }, 0x60, 0x60],
    ["direct", { direct: true }, 0x80, 0x80],
    ["access", { access: 7 }, 0x700, 0x700],
    ["invalid", { invalid: true }, 1 << 11, 1 << 12],
    ["efer_nx", { eferNx: true }, 1 << 12, 1 << 13],
    ["cr0_wp", { cr0Wp: true }, 1 << 13, 1 << 14],
    ["smap_andnot_wp", { smapAndnotWp: true }, 1 << 15, 1 << 15],
    ["ad_disabled", { adDisabled: true }, 1 << 16, 1 << 16],
    ["guest_mode", { guestMode: true }, 1 << 17, 1 << 17],
    ["passthrough", { passthrough: true }, 1 << 18, 1 << 18],
    ["is_mirror", { isMirror: true }, 1 << 19, 1 << 19],
    ["smm", { smm: 255 }, 0xff000000, 0xff000000],
  ] as const)("%s", (_name, fields, bits615, bits73) => {
    expect(makeRole(linux615, fields)).toBe(bits615);
    expect(makeRole(linux73, fields)).toBe(bits73);
  });

  it("has smep_andnot_wp only in 6.15 and cr4_smep only in 7.3", () => {
    expect(makeRole(linux615, { smepAndnotWp: true })).toBe(1 << 14);
    expect(makeRole(linux73, { cr4Smep: true })).toBe(1 << 20);
    expect(() => makeRole(linux73, { smepAndnotWp: true })).toThrow(UnknownRoleFieldError);
    expect(() => makeRole(linux615, { cr4Smep: true })).toThrow(
      "cr4Smep true does not exist in rule set linux-6.15",
    );
  });

  it.each([
    [{ quadrant: 4 }, "quadrant 4 is not an integer in [0, 3]"],
    [{ access: 8 }, "access 8 is not an integer in [0, 7]"],
    [{ smm: 256 }, "smm 256 is not an integer in [0, 255]"],
    [{ level: 1.5 as 1 }, "level 1.5 is not an integer in [0, 15]"],
  ])("refuses %o", (fields, message) => {
    expect(() => makeRole(linux615, fields)).toThrow(InvalidRoleFieldError);
    expect(() => makeRole(linux615, fields)).toThrow(message);
  });
});

describe.each([linux615, linux73])("role word, $name", (rules) => {
  const known = rules === linux615 ? 0xff0fffff : 0xff1fbfff;
  const words = fc
    .integer({ min: 0, max: 0xffffffff })
    .map((word) => ((word & known) >>> 0) as KvmMmuPageRole);

  it("packing undoes unpacking", () => {
    fc.assert(fc.property(words, (role) => makeRole(rules, roleFields(rules, role)) === role));
  });

  it("each reader agrees with unpacking", () => {
    fc.assert(
      fc.property(words, (role) => {
        const fields = roleFields(rules, role);
        expect(roleLevel(role)).toBe(fields.level);
        expect(roleAccess(rules, role)).toBe(fields.access);
        expect(roleDirect(role)).toBe(fields.direct);
        expect(roleInvalid(rules, role)).toBe(fields.invalid);
        expect(roleAdDisabled(role)).toBe(fields.adDisabled);
        expect(roleGuestMode(role)).toBe(fields.guestMode);
        expect(roleSmm(role)).toBe(fields.smm);
        expect(kvmMmuRoleAsId(role)).toBe(fields.smm === 0 ? 0 : 1);
      }),
    );
  });

  it("changing one field leaves the others alone", () => {
    fc.assert(
      fc.property(words, fc.boolean(), (role, invalid) => {
        const fields = roleFields(rules, role);
        expect(roleFields(rules, withRoleLevel(role, 2))).toEqual({ ...fields, level: 2 });
        expect(roleFields(rules, withRoleInvalid(rules, role, invalid))).toEqual({ ...fields, invalid });
        expect(roleFields(rules, withRoleAccess(rules, role, 5))).toEqual({ ...fields, access: 5 });
      }),
    );
  });

  it("refuses access bits that do not exist", () => {
    const change = () => withRoleAccess(rules, makeRole(rules, {}), rules.accAll + 1);
    expect(change).toThrow(InvalidRoleFieldError);
  });
});

describe("kvmCalcTdpMmuRootPageRole", () => {
  it.each([
    ["6.15", v615.eptAd, {}, 0x00003784],
    ["6.15 without A/D bits, in SMM", v615.eptNoAd, { smm: true }, 0x01013784],
    ["7.3", v73.eptAd, {}, 0x00006f84],
    ["7.3, nested", v73.eptAd, { guestMode: true }, 0x00026f84],
    ["7.3 mode-based", createSpteFormat({ mode: "ept", executeControl: true }), {}, 0x00106f84],
    ["7.3 execute trap", createSpteFormat({ mode: "npt", executeControl: true }), {}, 0x00106b84],
  ])("%s", (_name, format, input, role) => {
    expect(kvmCalcTdpMmuRootPageRole(format, { level: 4, ...input })).toBe(role);
  });
});
