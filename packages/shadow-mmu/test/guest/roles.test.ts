import { kvmCalcTdpMmuRootPageRole, linux73, linux615, makeRole, roleFields } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { kvmCalcCpuRole } from "../../src/role/kvm-calc-cpu-role.js";
import { kvmCalcShadowEptRootPageRole } from "../../src/role/kvm-calc-shadow-ept-root-page-role.js";
import {
  kvmCalcShadowMmuRootPageRole,
  kvmCalcShadowNptRootPageRole,
} from "../../src/role/kvm-calc-shadow-mmu-root-page-role.js";
import { cpuRoleBase, cpuRoleExtended, makeCpuRole } from "../../src/role/kvm-cpu-role.js";
import { GuestRig } from "./kit/guest-rig.js";
import { longMode } from "./kit/registers.js";

const RULE_SETS = [linux73, linux615];
const NOT_NESTED = { smm: false, guestMode: false };

describe("CPU roles, bit by bit", () => {
  it.each([
    [linux73, 0x6f04, 0b1100_0001],
    [linux615, 0x3704, 0b1000_0001],
  ])("$name: long mode with WP and NX", (ruleSet, base, extended) => {
    const { mmu } = new GuestRig({ ruleSet });
    const role = kvmCalcCpuRole(mmu, longMode(), NOT_NESTED);
    expect(role).toBe((BigInt(extended) << 32n) | BigInt(base));
  });

  it.each([
    // Access 15, smap_andnot_wp 15, cr4_smep 20; valid, smap, lma, has_pferr_fetch.
    [linux73, 0x108f04, 0b1101_0001],
    // Access 7, smep_andnot_wp 14, smap_andnot_wp 15; valid, smap, smep, lma.
    [linux615, 0xc704, 0b1011_0001],
  ])("$name: SMEP and SMAP without WP and NX", (ruleSet, base, extended) => {
    const { mmu } = new GuestRig({ ruleSet });
    const registers = longMode({ cr0Wp: false, eferNx: false, cr4Smep: true, cr4Smap: true });
    const role = kvmCalcCpuRole(mmu, registers, NOT_NESTED);
    expect(role).toBe((BigInt(extended) << 32n) | BigInt(base));
  });

  it.each(RULE_SETS)("$name: LA57 and protection keys count in long mode only", (ruleSet) => {
    const { mmu } = new GuestRig({ ruleSet });
    const flags = { cr4La57: true, cr4Pke: true };
    const long = kvmCalcCpuRole(mmu, longMode(flags), NOT_NESTED);
    const pae = kvmCalcCpuRole(mmu, longMode({ ...flags, eferLma: false }), NOT_NESTED);
    expect(roleFields(ruleSet, cpuRoleBase(long)).level).toBe(5);
    expect(cpuRoleExtended(ruleSet, long)).toMatchObject({ cr4La57: true, cr4Pke: true, eferLma: true });
    expect(roleFields(ruleSet, cpuRoleBase(pae)).level).toBe(3);
    expect(cpuRoleExtended(ruleSet, pae)).toMatchObject({ cr4La57: false, cr4Pke: false, eferLma: false });
  });

  it.each(RULE_SETS)(
    "$name: without paging nothing but the direct flag, mode and address space",
    (ruleSet) => {
      const { mmu } = new GuestRig({ ruleSet });
      const registers = longMode({ cr0Pg: false, cr4Smep: true, cr4Smap: true });
      const role = kvmCalcCpuRole(mmu, registers, { smm: true, guestMode: true });
      const base = { direct: true, access: ruleSet.accAll, smm: 1, guestMode: true };
      expect(cpuRoleBase(role)).toBe(makeRole(ruleSet, base));
      expect(role >> 32n).toBe(1n);
    },
  );

  it.each(RULE_SETS)("$name: a 32-bit guest has level 2 and entries of 4 bytes", (ruleSet) => {
    const { mmu } = new GuestRig({ ruleSet });
    const role = kvmCalcCpuRole(mmu, longMode({ cr4Pae: false, eferLma: false }), NOT_NESTED);
    expect(roleFields(ruleSet, cpuRoleBase(role))).toMatchObject({ level: 2, has4ByteGpte: true });
  });

  it("packs and unpacks the flags that a rule set has", () => {
    const flags = { valid: true, execonly: true, cr4Smep: true, hasPferrFetch: true };
    const packed = (rules: typeof linux73) => makeCpuRole(rules, 0 as ReturnType<typeof cpuRoleBase>, flags);
    expect(cpuRoleExtended(linux73, packed(linux73))).toMatchObject({ cr4Smep: false, hasPferrFetch: true });
    expect(cpuRoleExtended(linux615, packed(linux615))).toMatchObject({
      cr4Smep: true,
      hasPferrFetch: false,
    });
    expect(cpuRoleExtended(linux615, packed(linux615))).toMatchObject({ valid: true, execonly: true });
  });
});

describe.each(RULE_SETS)("root roles of $name", (rules) => {
  const { mmu } = new GuestRig({ ruleSet: rules });
  const shadowRole = (changes: Parameters<typeof longMode>[0]) =>
    roleFields(
      rules,
      kvmCalcShadowMmuRootPageRole(rules, kvmCalcCpuRole(mmu, longMode(changes), NOT_NESTED)),
    );
  const nptRole = (hostLevel: 4 | 5, changes: Parameters<typeof longMode>[0] = {}) => {
    const role = kvmCalcCpuRole(mmu, longMode(changes), { smm: false, guestMode: true });
    return roleFields(rules, kvmCalcShadowNptRootPageRole(rules, role, hostLevel));
  };

  it("paging off: three levels, direct, NX", () => {
    expect(shadowRole({ cr0Pg: false })).toMatchObject({
      level: 3,
      direct: true,
      access: rules.accAll,
      eferNx: true,
      cr0Wp: false,
      guestMode: false,
    });
  });

  it.each([
    ["PAE", { eferLma: false }, 3],
    ["four levels", {}, 4],
    ["five levels", { cr4La57: true }, 5],
  ])("%s: the guest's levels, NX forced", (_name, changes, level) => {
    expect(shadowRole({ ...changes, eferNx: false })).toMatchObject({
      level,
      direct: false,
      access: rules.accAll,
      eferNx: true,
      cr0Wp: true,
      has4ByteGpte: false,
      adDisabled: false,
    });
  });

  it("SMEP and SMAP without WP", () => {
    const modern = rules.role.cr4Smep !== null;
    expect(shadowRole({ cr0Wp: false, cr4Smep: true, cr4Smap: true })).toMatchObject({
      cr0Wp: false,
      smapAndnotWp: true,
      smepAndnotWp: !modern,
      cr4Smep: modern,
    });
    expect(shadowRole({ cr4Smep: true, cr4Smap: true })).toMatchObject({
      smapAndnotWp: false,
      smepAndnotWp: false,
      cr4Smep: modern,
    });
  });

  it("nested NPT: the host's levels, L1's NX and WP, passthrough over four levels", () => {
    const common = { guestMode: true, direct: false, access: rules.accAll };
    expect(nptRole(4, { eferNx: false, cr0Wp: false })).toMatchObject({
      ...common,
      level: 4,
      eferNx: false,
      cr0Wp: false,
      passthrough: false,
    });
    expect(nptRole(5)).toMatchObject({ ...common, level: 5, eferNx: true, cr0Wp: true, passthrough: true });
    expect(nptRole(5, { cr4La57: true })).toMatchObject({ ...common, level: 5, passthrough: false });
  });

  it("nested EPT: levels, A/D and capability of L1's tables only", () => {
    const mode = { level: 5, accessedDirty: false, executeOnly: true, modeBasedExecute: false } as const;
    const role = kvmCalcShadowEptRootPageRole(rules, mode);
    const base = { level: 5, access: rules.accAll, adDisabled: true, guestMode: true } as const;
    expect(cpuRoleBase(role)).toBe(makeRole(rules, base));
    expect(cpuRoleExtended(rules, role)).toMatchObject({ valid: true, execonly: true, eferLma: false });
    const withAd = kvmCalcShadowEptRootPageRole(rules, { ...mode, accessedDirty: true, executeOnly: false });
    expect(roleFields(rules, cpuRoleBase(withAd)).adDisabled).toBe(false);
    expect(cpuRoleExtended(rules, withAd).execonly).toBe(false);
  });

  it("two-dimensional paging without nesting: direct, everything allowed", () => {
    const { format } = new GuestRig({ ruleSet: rules, mode: "ept", adBits: false });
    expect(roleFields(rules, kvmCalcTdpMmuRootPageRole(format, { level: 5, smm: true }))).toMatchObject({
      level: 5,
      direct: true,
      eferNx: true,
      cr0Wp: true,
      adDisabled: true,
      smm: 1,
    });
  });
});

it("7.3 keeps mode-based execute control of nested EPT in the SMEP bit", () => {
  const mode = { level: 4, accessedDirty: true, executeOnly: false, modeBasedExecute: true } as const;
  expect(roleFields(linux73, cpuRoleBase(kvmCalcShadowEptRootPageRole(linux73, mode))).cr4Smep).toBe(true);
});
