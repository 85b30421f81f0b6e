import { describe, expect, it } from "vitest";
import {
  createSpteFormat,
  isAccessedSpte,
  isAccessTrackSpte,
  isMmuWritableSpte,
  isWritablePte,
  linux615,
  type MakeSpteInput,
  makeNonleafSpte,
  makePaePdpte,
  makeSpte,
  resetShadowZeroBitsMask,
  SHADOW_NONPRESENT_VALUE,
  type SpteFormat,
  toPfn,
  toSpte,
} from "../src/index.js";
import { v73, v615 } from "./formats.js";
import { makeSpteInput } from "./make-spte-input.js";

type Row = readonly [string, Partial<MakeSpteInput>, bigint, bigint, bigint];

const refused = { tryToUnsyncPages: () => 1 };
const huge = { level: 2, pfn: toPfn(0x40000) } as const;

const rows615: readonly Row[] = [
  ["demand", {}, 0x8600000012345b77n, 0x8610000012345b77n, 0x12345e67n],
  ["prefetch", { prefetch: true }, 0x8600000012345a77n, 0x8750000012345a70n, 0x12345e47n],
  ["host read-only", { hostWritable: false }, 0x8000000012345975n, 0x8010000012345975n, 0x12345825n],
  ["unsync refused", refused, 0x8200000012345975n, 0x8210000012345975n, 0x12345a25n],
  ["guest read-only", { pteAccess: 5 }, 0x8200000012345975n, 0x8210000012345975n, 0x12345a25n],
  ["guest no-exec", { pteAccess: 6 }, 0x8600000012345b73n, 0x8610000012345b73n, 0x8000000012345e67n],
  ["host MMIO", { isMmioPfn: true, memoryType: 0n }, 0x8600000012345b07n, 0x8610000012345b07n, 0x12345e67n],
  [
    "re-sync to read-only",
    { pteAccess: 5, prefetch: true, synchronizing: true },
    0x8200000012345975n,
    0x8210000012345975n,
    0x12345a25n,
  ],
  ["huge", huge, 0x8600000040000bf7n, 0x8610000040000bf7n, 0x40000ee7n],
  ["1G", { ...huge, level: 3 }, 0x8600000040000bf7n, 0x8610000040000bf7n, 0x40000ee7n],
  [
    "huge, NX mitigation",
    { ...huge, nxHugePageMitigation: true },
    0x8600000040000bf3n,
    0x8610000040000bf3n,
    0x8000000040000ee7n,
  ],
];

const rows73: readonly Row[] = [
  ["demand", {}, 0x80a0000012345f77n, 0x90a0000012345f77n, 0x12345e67n],
  ["prefetch", { prefetch: true }, 0x80a0000012345e77n, 0xd0f0000012345a70n, 0x12345e47n],
  ["host read-only", { hostWritable: false }, 0x8000000012345d75n, 0x9000000012345d75n, 0x12345825n],
  ["unsync refused", refused, 0x8020000012345d75n, 0x9020000012345d75n, 0x12345a25n],
  ["guest read-only", { pteAccess: 13 }, 0x8020000012345d75n, 0x9020000012345d75n, 0x12345a25n],
  ["supervisor no-exec", { pteAccess: 7 }, 0x80a0000012345f73n, 0x90a0000012345f73n, 0x8000000012345e67n],
  ["no exec at all", { pteAccess: 3 }, 0x80a0000012345b73n, 0x90a0000012345b73n, 0x8000000012345e63n],
  ["host MMIO", { isMmioPfn: true, memoryType: 0n }, 0x80a0000012345f07n, 0x90a0000012345f07n, 0x12345e67n],
  ["huge", huge, 0x80a0000040000ff7n, 0x90a0000040000ff7n, 0x40000ee7n],
  ["1G", { ...huge, level: 3 }, 0x80a0000040000ff7n, 0x90a0000040000ff7n, 0x40000ee7n],
  [
    "huge, NX mitigation",
    { ...huge, nxHugePageMitigation: true },
    0x80a0000040000bf3n,
    0x90a0000040000bf3n,
    0x8000000040000ee7n,
  ],
];

function make(format: SpteFormat, changes: Partial<MakeSpteInput> = {}) {
  return makeSpte(format, makeSpteInput(format, changes));
}

describe.each([
  ["linux-6.15", v615, rows615],
  ["linux-7.3", v73, rows73],
] as const)("makeSpte, %s", (_name, formats, rows) => {
  it.each(rows)("%s", (_case, changes, eptAd, eptNoAd, npt) => {
    expect(make(formats.eptAd, changes).spte).toBe(eptAd);
    expect(make(formats.eptNoAd, changes).spte).toBe(eptNoAd);
    expect(make(formats.npt, changes).spte).toBe(npt);
  });
});

describe("makeSpte, single entries of the reference tables", () => {
  it("execute-only", () => {
    const execOnly = createSpteFormat({ mode: "ept", execOnly: true, ruleSet: linux615 });
    const noAd = createSpteFormat({ mode: "ept", execOnly: true, adBits: false, ruleSet: linux615 });
    expect(make(execOnly, { pteAccess: 1 }).spte).toBe(0x8200000012345974n);
    expect(make(noAd, { pteAccess: 1 }).spte).toBe(0x8210000012345974n);
    expect(make(v73.eptAd, { pteAccess: 12 }).spte).toBe(0x8020000012345d74n);
    expect(make(v73.eptNoAd, { pteAccess: 12 }).spte).toBe(0x9020000012345d74n);
  });

  it("nested guest with PML is write-protect-only", () => {
    const nested = { guestMode: true, cpuDirtyLog: true };
    expect(make(v615.eptAd, nested).spte).toBe(0x8620000012345b77n);
    expect(make(v73.eptAd, nested).spte).toBe(0xa0a0000012345f77n);
  });

  it("A/D disabled by the role on A/D hardware", () => {
    expect(make(v615.eptAd, { adDisabled: true }).spte).toBe(0x8610000012345b77n);
    expect(make(v73.eptAd, { adDisabled: true }).spte).toBe(0x90a0000012345f77n);
  });

  it.each([
    [v615.eptAd, false, 0x8000000123456907n],
    [v615.eptAd, true, 0x8010000123456807n],
    [v615.npt, false, 0x0000000123456827n],
    [v73.eptAd, false, 0x8000000123456d07n],
    [v73.eptAd, true, 0x9000000123456c07n],
    [v73.npt, false, 0x0000000123456827n],
  ])("non-leaf %#", (format, adDisabled, spte) => {
    expect(makeNonleafSpte(format, 0x123456000n, adDisabled)).toBe(spte);
  });

  it("PAE root entries carry the address and P, below a long-mode root also A, W and U", () => {
    expect(makePaePdpte(v73.npt, 0x123456000n, false)).toBe(0x123456001n);
    expect(makePaePdpte(v73.npt, 0x123456000n, true)).toBe(0x123456027n);
  });
});

describe("makeSpte, write permission", () => {
  const booleans = [false, true];
  const sixteen = booleans.flatMap((hostWritable) =>
    booleans.flatMap((accWrite) =>
      booleans.flatMap((denied) =>
        booleans.map((oldWritable) => ({ hostWritable, accWrite, denied, oldWritable })),
      ),
    ),
  );

  it.each(sixteen)(
    "host $hostWritable, access $accWrite, denied $denied, old writable $oldWritable",
    (row) => {
      const format = v73.eptAd;
      const { accAll, accWriteMask } = format.rules;
      let asked = 0;
      const result = make(format, {
        hostWritable: row.hostWritable,
        pteAccess: row.accWrite ? accAll : accAll & ~accWriteMask,
        oldSpte: row.oldWritable ? make(format).spte : SHADOW_NONPRESENT_VALUE,
        tryToUnsyncPages: () => {
          asked++;
          return row.denied ? 1 : 0;
        },
      });
      const wanted = row.hostWritable && row.accWrite;
      const granted = wanted && (row.oldWritable || !row.denied);
      expect(asked).toBe(wanted && !row.oldWritable ? 1 : 0);
      expect(result.wrprot).toBe(wanted && !granted);
      expect(isWritablePte(result.spte)).toBe(granted);
      expect(isMmuWritableSpte(format, result.spte)).toBe(granted);
      expect((result.spte & format.shadowDirtyMask) !== 0n).toBe(granted);
      expect((result.spte & format.shadowHostWritableMask) !== 0n).toBe(row.hostWritable);
    },
  );

  it("the old value counts as writable although it is an MMIO entry", () => {
    const result = make(v73.eptAd, {
      oldSpte: toSpte(0x24600000fee0022en),
      tryToUnsyncPages: () => {
        throw new Error("asked");
      },
    });
    expect(result.unsyncCalled).toBe(false);
    expect(isWritablePte(result.spte)).toBe(true);
  });
});

describe("makeSpte, age at birth", () => {
  const formats = [v615.eptAd, v615.eptNoAd, v615.npt, v73.eptAd, v73.eptNoAd, v73.npt];
  const speculation = [
    { prefetch: false, synchronizing: false, young: true },
    { prefetch: false, synchronizing: true, young: true },
    { prefetch: true, synchronizing: true, young: true },
    { prefetch: true, synchronizing: false, young: false },
  ];

  it.each(speculation)("prefetch $prefetch, synchronizing $synchronizing", ({ young, ...changes }) => {
    for (const format of formats) {
      const { spte } = make(format, changes);
      expect(isAccessedSpte(format, spte)).toBe(young);
      expect(isAccessTrackSpte(format, spte)).toBe(!young && !format.kvmAdEnabled);
    }
  });
});

describe("makeSpte, what the caller has to do", () => {
  it("marks the slot dirty for a writable entry, not for an access-tracked one", () => {
    const changes = { slotDirtyLogging: true };
    expect(make(v73.eptNoAd, changes).markSlotDirty).toBe(true);
    expect(make(v73.eptNoAd, { ...changes, prefetch: true }).markSlotDirty).toBe(false);
    expect(make(v73.eptAd, { ...changes, hostWritable: false }).markSlotDirty).toBe(false);
  });

  it("warns about a writable huge page under dirty logging and about an entry without any access", () => {
    expect(make(v73.eptAd, { ...huge, slotDirtyLogging: true }).warnings).toBe(1);
    expect(make(v73.eptAd, { pteAccess: 0 }).warnings).toBe(1);
    expect(make(v615.eptAd, { pteAccess: 0 }).warnings).toBe(0);
  });

  it("warns about reserved bits when it is given the MMU's table", () => {
    const shadowZeroCheck = resetShadowZeroBitsMask(v73.eptAd, 4);
    expect(make(v73.eptAd, { shadowZeroCheck }).warnings).toBe(0);
    expect(make(v73.eptAd, { shadowZeroCheck, memoryType: 0x10n }).warnings).toBe(1);
    expect(make(v73.eptAd, { shadowZeroCheck, pfn: toPfn(2 ** 34) }).warnings).toBe(1);
  });

  it("asks for host MMIO to be marked only under a rule set that tracks it", () => {
    const changes = { isMmioPfn: true, hostMmioUnmarked: true };
    expect(make(v73.eptAd, changes).markHostMmio).toBe(true);
    expect(make(v73.eptAd, { ...changes, isMmioPfn: false }).markHostMmio).toBe(false);
    expect(make(v615.eptAd, changes).markHostMmio).toBe(false);
  });
});
