import { describe, expect, it } from "vitest";
import {
  createSpteFormat,
  isAccessAllowed,
  linux73,
  linux615,
  type PermissionFeatures,
  PFERR_FETCH_MASK,
  PFERR_PRESENT_MASK,
  PFERR_USER_MASK,
  PFERR_WRITE_MASK,
  type RuleSet,
  SHADOW_NONPRESENT_VALUE,
  type SpteAccess,
  sptePermissionFault,
  toSpte,
  updatePermissionBitmask,
} from "../src/index.js";
import { v73, v615 } from "./formats.js";

function table(rules: RuleSet, features: PermissionFeatures): string {
  const digits = (rules.accAll + 1) / 4;
  return updatePermissionBitmask(rules, features)
    .map((word) => word.toString(16).padStart(digits, "0"))
    .join(" ");
}

/** Features of a guest's own long-mode tables, as the reference tables list them: WP, SMEP, SMAP, NX. */
function guest(wp: number, smep: number, smap: number, nx: number): PermissionFeatures {
  return {
    ept: false,
    tdp: false,
    cr0Wp: wp === 1,
    cr4Smep: smep === 1,
    cr4Smap: smap === 1,
    eferNx: nx === 1,
  };
}

const shadow: PermissionFeatures = { ept: false, tdp: false };
const npt: PermissionFeatures = { ept: false, tdp: true };
const ept: PermissionFeatures = { ept: true, tdp: true };

describe("updatePermissionBitmask", () => {
  const normal = "5555 3333 5f5f 3f3f 5555 3333 5f5f 3f3f 00ff 33ff 0fff 3fff 00ff 33ff 0fff 3fff";
  it.each([
    ["shadow paging", shadow, normal],
    ["NPT", npt, normal],
    [
      "NPT with execute trap",
      { ...npt, cr4Smep: true },
      "5555 3333 5555 3333 5555 3333 5555 3333 f0ff f3ff 00ff 33ff f0ff f3ff 00ff 33ff",
    ],
    ["EPT", ept, "5555 3333 5555 3333 5555 3333 5555 3333 00ff 33ff 00ff 33ff 00ff 33ff 00ff 33ff"],
    [
      "EPT with mode-based control",
      { ...ept, cr4Smep: true },
      "5555 3333 5555 3333 5555 3333 5555 3333 00ff 33ff 0f0f 3f3f 00ff 33ff 0f0f 3f3f",
    ],
    ["guest 1 0 0 1", guest(1, 0, 0, 1), normal],
    [
      "guest 1 1 1 1",
      guest(1, 1, 1, 1),
      "f5f5 f3f3 5f5f 3f3f 5555 3333 5f5f 3f3f f0ff f3ff 0fff 3fff f0ff f3ff 0fff 3fff",
    ],
    [
      "guest 1 1 0 1",
      guest(1, 1, 0, 1),
      "5555 3333 5f5f 3f3f 5555 3333 5f5f 3f3f f0ff f3ff 0fff 3fff f0ff f3ff 0fff 3fff",
    ],
    [
      "guest 1 0 0 0",
      guest(1, 0, 0, 0),
      "5555 3333 5f5f 3f3f 5555 3333 5f5f 3f3f 0000 3333 0f0f 3f3f 0000 3333 0f0f 3f3f",
    ],
    [
      "guest 0 0 0 1",
      guest(0, 0, 0, 1),
      "5555 0000 5f5f 3f3f 5555 0000 5f5f 3f3f 00ff 00ff 0fff 3fff 00ff 00ff 0fff 3fff",
    ],
    [
      "guest 0 0 0 0",
      guest(0, 0, 0, 0),
      "5555 0000 5f5f 3f3f 5555 0000 5f5f 3f3f 0000 0000 0f0f 3f3f 0000 0000 0f0f 3f3f",
    ],
    [
      "guest 0 1 1 0",
      guest(0, 1, 1, 0),
      "f5f5 f0f0 5f5f 3f3f 5555 0000 5f5f 3f3f f0f0 f0f0 0f0f 3f3f f0f0 f0f0 0f0f 3f3f",
    ],
  ])("7.3, %s", (_name, features, words) => {
    expect(table(linux73, features)).toBe(words);
  });

  it.each([
    ["guest 1 0 0 1", guest(1, 0, 0, 1), "00 33 0f 3f 00 33 0f 3f 55 77 5f 7f 55 77 5f 7f"],
    ["guest 1 1 1 1", guest(1, 1, 1, 1), "f0 f3 0f 3f 00 33 0f 3f f5 f7 5f 7f f5 f7 5f 7f"],
    ["guest 1 1 0 1", guest(1, 1, 0, 1), "00 33 0f 3f 00 33 0f 3f f5 f7 5f 7f f5 f7 5f 7f"],
    ["guest 1 0 0 0", guest(1, 0, 0, 0), "00 33 0f 3f 00 33 0f 3f 00 33 0f 3f 00 33 0f 3f"],
    ["guest 0 0 0 1", guest(0, 0, 0, 1), "00 00 0f 3f 00 00 0f 3f 55 55 5f 7f 55 55 5f 7f"],
    ["guest 0 0 0 0", guest(0, 0, 0, 0), "00 00 0f 3f 00 00 0f 3f 00 00 0f 3f 00 00 0f 3f"],
    ["guest 0 1 1 0", guest(0, 1, 1, 0), "f0 f0 0f 3f 00 00 0f 3f f0 f0 0f 3f f0 f0 0f 3f"],
    ["EPT", ept, "00 33 0f 3f 00 33 0f 3f 55 77 5f 7f 55 77 5f 7f"],
  ])("6.15, %s", (_name, features, words) => {
    expect(table(linux615, features)).toBe(words);
  });
});

describe("sptePermissionFault", () => {
  const readOnly = toSpte(0x8020000012345d75n);

  it("is true for non-present entries and ignores the present and reserved bits of the error code", () => {
    const { permissions } = v73.eptAd;
    expect(sptePermissionFault(v73.eptAd, permissions, SHADOW_NONPRESENT_VALUE, 0)).toBe(true);
    expect(sptePermissionFault(v73.eptAd, permissions, readOnly, PFERR_PRESENT_MASK | 8)).toBe(false);
    expect(sptePermissionFault(v73.eptAd, permissions, readOnly, PFERR_WRITE_MASK)).toBe(true);
    expect(sptePermissionFault(v73.eptAd, permissions, readOnly, 2 ** 48 + PFERR_WRITE_MASK)).toBe(true);
  });

  it("tells user from supervisor fetches where execute control is on", () => {
    const format = createSpteFormat({ mode: "ept", executeControl: true });
    const supervisorOnly = toSpte(0x8020000012345975n);
    const fetch = (user: number) =>
      sptePermissionFault(format, format.permissions, supervisorOnly, PFERR_FETCH_MASK | user);
    expect(fetch(0)).toBe(false);
    expect(fetch(PFERR_USER_MASK)).toBe(true);
  });
});

describe("isAccessAllowed", () => {
  const read: SpteAccess = { write: false, exec: false, user: true };
  const write: SpteAccess = { ...read, write: true };
  const exec: SpteAccess = { ...read, exec: true };

  it.each([
    ["6.15 EPT writable", v615.eptAd, 0x8600000012345b77n, [true, true, true]],
    ["6.15 EPT read-only", v615.eptAd, 0x8000000012345975n, [true, false, true]],
    ["6.15 EPT no-exec", v615.eptAd, 0x8600000012345b73n, [true, true, false]],
    ["6.15 EPT access-tracked", v615.eptNoAd, 0x8750000012345a70n, [false, false, false]],
    ["6.15 NPT no-exec", v615.npt, 0x8000000012345e67n, [true, true, false]],
    ["7.3 EPT writable", v73.eptAd, 0x80a0000012345f77n, [true, true, true]],
    ["7.3 EPT read-only", v73.eptAd, 0x8000000012345d75n, [true, false, true]],
    ["7.3 EPT no-exec", v73.eptAd, 0x80a0000012345b73n, [true, true, false]],
    ["7.3 EPT access-tracked", v73.eptNoAd, 0xd0f0000012345a70n, [false, false, false]],
    ["7.3 NPT no-exec", v73.npt, 0x8000000012345e67n, [true, true, false]],
    ["7.3 NPT supervisor page", v73.npt, 0x0000000012345e63n, [false, false, false]],
    ["7.3 non-present", v73.eptAd, 0x8000000000000000n, [false, false, false]],
  ])("%s", (_name, format, value, allowed) => {
    const answers = [read, write, exec].map((access) => isAccessAllowed(format, access, toSpte(value)));
    expect(answers).toEqual(allowed);
  });
});
