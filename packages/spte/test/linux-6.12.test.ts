import { describe, expect, it } from "vitest";
import {
  createSpteFormat,
  explainSpte,
  isAccessedSpte,
  isAccessTrackSpte,
  isDirtySpte,
  linux612,
  type MakeSpteInput,
  makeNonleafSpte,
  makeSpte,
  markSpteForAccessTrack,
  mmuSpteUpdateNeedsTlbFlush,
  restoreAccTrackSpte,
  type SpteFormat,
  spteNeedsAtomicUpdate,
  toSpte,
} from "../src/index.js";
import { v615 } from "./formats.js";
import { makeSpteInput } from "./make-spte-input.js";
import { masksOut } from "./masks-out.js";
import { hex, readVectorFile, type VectorCase } from "./vector-file.js";
import { replaySetUp } from "./vector-format.js";
import { vectorFunctions } from "./vector-results.js";

const eptAd = createSpteFormat({ mode: "ept", ruleSet: linux612 });
const eptNoAd = createSpteFormat({ mode: "ept", adBits: false, ruleSet: linux612 });
const npt = createSpteFormat({ mode: "npt", ruleSet: linux612 });

function made(format: SpteFormat, changes: Partial<MakeSpteInput> = {}): bigint {
  return makeSpte(format, makeSpteInput(format, changes)).spte;
}

describe("recordings of 6.12's own functions", () => {
  const file = readVectorFile("linux-6.15", "mmio");
  const formats = new Map(
    Object.entries(file.configs!).map(([id, config]) => [id, replaySetUp(linux612, config.in)]),
  );

  it("are what the file of MMIO entries was made with", () => {
    expect(file.source).toMatch(/^Linux 6\.12/);
    expect(file.cases).toHaveLength(631);
  });

  it.each(Object.entries(file.configs!))("%s: the global masks", (id, { out }) => {
    expect(masksOut(formats.get(id)!)).toStrictEqual(out);
  });

  it("MMIO entries: all cases", () => {
    for (const { config, in: input, out } of file.cases) {
      expect(vectorFunctions.mmio!(formats.get(config)!, input)).toStrictEqual(out);
    }
  });
});

/** Whether `make_spte` of 6.12 and of 6.15 do the same. */
function isUnchanged({ in: input }: VectorCase): boolean {
  const oldWritable = (BigInt(input.old_spte as string) & 2n) !== 0n;
  const oldIsLast = input.level === 1 || (BigInt(input.old_spte as string) & 0x80n) !== 0n;
  return input.role_ad_disabled !== true && input.synchronizing !== true && !(oldWritable && oldIsLast);
}

it("make_spte with hardware A/D bits is that of 6.15, but for re-syncing and rewriting", () => {
  const file = readVectorFile("linux-6.15", "make-spte");
  const hasAdBits = ({ config }: VectorCase): boolean => file.configs![config]!.out.kvm_ad_enabled === true;
  const cases = file.cases.filter((vector) => isUnchanged(vector) && hasAdBits(vector));
  expect(cases.length).toBeGreaterThan(300);
  for (const { config, in: input, out } of cases) {
    const format = replaySetUp(linux612, file.configs![config]!.in);
    expect(vectorFunctions["make-spte"]!(format, input)).toStrictEqual(out);
  }
});

describe("entries without hardware A/D bits", () => {
  it("have no masks for them", () => {
    expect([eptNoAd.shadowAccessedMask, eptNoAd.shadowDirtyMask]).toEqual([0n, 0n]);
    expect([eptAd.shadowAccessedMask, eptAd.shadowDirtyMask]).toEqual([0x100n, 0x200n]);
  });

  it.each([
    ["demand, host-writable", {}, 0x8610000012345877n],
    ["prefetch", { prefetch: true }, 0x8750000012345870n],
    ["host read-only", { hostWritable: false }, 0x8010000012345875n],
    ["unsync refused", { tryToUnsyncPages: () => -1 }, 0x8210000012345875n],
    ["guest no-exec", { pteAccess: 6 }, 0x8610000012345873n],
    ["2M", { level: 2, pfn: 0x40000 as never }, 0x86100000400008f7n],
  ] as const)("%s: neither A nor D", (_name, changes, value) => {
    expect(hex(made(eptNoAd, changes))).toBe(hex(value));
  });

  it("of a nested guest on a host that has them: neither A nor D either", () => {
    expect(hex(made(eptAd, { adDisabled: true }))).toBe(hex(0x8610000012345877n));
  });

  it("round trip: young, tracked, restored", () => {
    const young = toSpte(0x8610000012345877n);
    const tracked = markSpteForAccessTrack(eptNoAd, young);
    expect(hex(tracked)).toBe("0x8750000012345870");
    expect(hex(restoreAccTrackSpte(eptNoAd, tracked))).toBe("0x8610000012345875");
    expect([isAccessedSpte(eptNoAd, young), isAccessedSpte(eptNoAd, tracked)]).toEqual([true, false]);
    expect([isAccessTrackSpte(eptNoAd, young), isAccessTrackSpte(eptNoAd, tracked)]).toEqual([false, true]);
  });

  it("tracking leaves alone what is at the place of A, which means nothing there", () => {
    expect(hex(markSpteForAccessTrack(eptAd, toSpte(0x8610000012345977n)))).toBe("0x8750000012345970");
    expect(hex(markSpteForAccessTrack(v615.eptAd, toSpte(0x8610000012345977n)))).toBe("0x8750000012345870");
  });

  it("are dirty if they are writable", () => {
    expect(isDirtySpte(eptNoAd, toSpte(0x8610000012345877n))).toBe(true);
    expect(isDirtySpte(eptNoAd, toSpte(0x8610000012345875n))).toBe(false);
    expect(isDirtySpte(v615.eptNoAd, toSpte(0x8610000012345b75n))).toBe(true);
  });

  it("are explained so", () => {
    const { fields, states } = explainSpte(eptNoAd, toSpte(0x8610000012345877n));
    expect(fields.map(({ name }) => name)).not.toContain("A");
    expect(fields.find(({ name }) => name === "A/D type")?.meaning).toBe("nobody maintains A and D");
    expect(states).toContain("young");
    expect(states.join()).not.toContain("clean while writable");
  });
});

it("tables are linked as in 6.15", () => {
  expect(hex(makeNonleafSpte(eptAd, 0x123456000n, false))).toBe("0x8000000123456907");
  expect(hex(makeNonleafSpte(eptNoAd, 0x123456000n, true))).toBe("0x8010000123456807");
});

describe("make_spte with hardware A/D bits", () => {
  it.each([
    ["EPT", eptAd, 0x8600000012345a77n, 0x8600000012345b77n],
    ["NPT", npt, 0x12345e47n, 0x12345e67n],
  ])("%s: an entry that is re-synced is old again", (_name, format, resynced, in615) => {
    const changes = { prefetch: true, synchronizing: true };
    expect(hex(made(format, changes))).toBe(hex(resynced));
    expect(hex(made(format.mode === "ept" ? v615.eptAd : v615.npt, changes))).toBe(hex(in615));
  });

  it.each([
    ["EPT", eptAd, 0x8600000012345977n, 0x8600000012345b77n],
    ["NPT", npt, 0x12345e27n, 0x12345e67n],
  ])("%s: a writable leaf over a writable leaf is not born dirty", (_name, format, rewritten, in615) => {
    const oldSpte = toSpte(in615);
    expect(hex(made(format, { oldSpte, tryToUnsyncPages: () => -1 }))).toBe(hex(rewritten));
    expect(hex(made(format, { oldSpte: toSpte(in615 & ~2n) }))).toBe(hex(in615));
    expect(hex(made(format.mode === "ept" ? v615.eptAd : v615.npt, { oldSpte }))).toBe(hex(in615));
  });
});

describe("what changes under a holder of mmu_lock (spte_has_volatile_bits)", () => {
  it.each([
    ["A/D, W A D", eptAd, 0x8600000012345b77n, false],
    ["A/D, aged", eptAd, 0x8600000012345a77n, true],
    ["A/D, D cleared", eptAd, 0x8600000012345977n, true],
    ["A/D, dirty-log protected", eptAd, 0x8600000012345b75n, true],
    ["A/D, page-table protected", eptAd, 0x8200000012345b75n, false],
    ["no A/D, young writable", eptNoAd, 0x8610000012345877n, false],
    ["no A/D, access-tracked", eptNoAd, 0x8750000012345870n, true],
    ["no A/D, host read-only", eptNoAd, 0x8010000012345875n, false],
    ["NPT, aged", npt, 0x12345e47n, true],
    ["NPT, D cleared", npt, 0x12345e27n, true],
  ] as const)("%s", (_name, format, spte, expected) => {
    expect(spteNeedsAtomicUpdate(format, toSpte(spte))).toBe(expected);
  });
});

describe("when mmu_spte_update owes a flush", () => {
  it.each([
    ["W cleared, A/D", eptAd, 0x8600000012345b77n, 0x8600000012345b75n, true],
    ["W and MMU-writable cleared", eptAd, 0x8600000012345b77n, 0x8200000012345b75n, true],
    ["MMU-writable cleared, W was", eptAd, 0x8600000012345b75n, 0x8200000012345b75n, true],
    ["A cleared", eptAd, 0x8600000012345b77n, 0x8600000012345a77n, true],
    ["D cleared", eptAd, 0x8600000012345b77n, 0x8600000012345977n, true],
    ["X cleared", eptAd, 0x8600000012345b77n, 0x8600000012345b73n, false],
    ["W set", eptAd, 0x8600000012345b75n, 0x8600000012345b77n, false],
    ["read-only for good, A set", eptAd, 0x8200000012345875n, 0x8200000012345975n, false],
    ["access-tracked", eptNoAd, 0x8610000012345877n, 0x8750000012345870n, true],
    ["restored", eptNoAd, 0x8750000012345870n, 0x8610000012345877n, false],
    ["filled", npt, 0x8000000000000000n, 0x12345e67n, false],
  ] as const)("%s", (_name, format, before, after, expected) => {
    expect(mmuSpteUpdateNeedsTlbFlush(format, toSpte(before), toSpte(after))).toBe(expected);
  });

  it("since 6.13 only when MMU-writable goes", () => {
    const change = (before: bigint, after: bigint): boolean =>
      mmuSpteUpdateNeedsTlbFlush(v615.eptAd, toSpte(before), toSpte(after));
    expect(change(0x8600000012345b77n, 0x8600000012345975n)).toBe(false);
    expect(change(0x8600000012345b77n, 0x8200000012345b75n)).toBe(true);
  });
});
