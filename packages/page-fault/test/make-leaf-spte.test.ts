import { KVM_MEM_LOG_DIRTY_PAGES, kvmWriteTrackAddGfn, mmuFirstShadowRootAlloc } from "@kvm-age/memslot";
import {
  createSpteFormat,
  type Gfn,
  getMmioSpteAccess,
  getMmioSpteGfn,
  isAccessedSpte,
  isExecutablePte,
  isMmioSpte,
  isMmuWritableSpte,
  isWritablePte,
  kvmCalcTdpMmuRootPageRole,
  linux73,
  linux615,
  type Spte,
  spteToPfn,
} from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { makeNoSlotSpte, type ShadowPageTracker } from "../src/index.js";
import { FORMATS } from "./kit/formats.js";
import { HOST_PFN } from "./kit/linear-host.js";
import { Rig, SLOT_GFN } from "./kit/rig.js";

/** Memory type write-back, PAT ignored: EPT's bits 3 to 6. */
const WB_IPAT = 0x70n;
const MEMTYPE_BITS = 0x78n;

describe.each(FORMATS)("a leaf, $name", ({ format }) => {
  it("of a demand fault is accessed, and writable as the host allows", () => {
    const rig = new Rig({ format });
    const { spte, wrprot } = rig.leaf(3);
    expect(wrprot).toBe(false);
    expect(spteToPfn(format, spte)).toBe(HOST_PFN + 3);
    expect([isWritablePte(spte), isAccessedSpte(format, spte)]).toEqual([true, true]);
    expect(isWritablePte(rig.leaf(3, { hostWritable: false }).spte)).toBe(false);
  });

  it("of a prefetch is born aged", () => {
    const { spte } = new Rig({ format }).leaf(3, { prefetch: true });
    expect(isAccessedSpte(format, spte)).toBe(false);
  });

  it("has the memory type in EPT formats only", () => {
    const { spte } = new Rig({ format }).leaf(3);
    const hasType = BigInt.asUintN(64, spte & MEMTYPE_BITS) === WB_IPAT;
    expect(hasType).toBe(format.mode === "ept");
  });

  it("that is writable marks its page in the log of the slot, before anybody can use it", () => {
    const rig = new Rig({ format, slotFlags: KVM_MEM_LOG_DIRTY_PAGES });
    rig.leaf(3);
    rig.leaf(4, { hostWritable: false });
    expect([2, 3, 4].map((page) => rig.isDirty(page))).toEqual([false, true, false]);
  });

  it("allows what the guest's own translation allows", () => {
    const { rules } = format;
    const rig = new Rig({ format });
    expect(isWritablePte(rig.leaf(3, { pteAccess: rules.accAll & ~rules.accWriteMask }).spte)).toBe(false);
    const noExec = rig.leaf(3, { pteAccess: rules.accAll & ~rules.accExecMask & ~rules.accUserMask });
    expect(isExecutablePte(format, noExec.spte)).toBe(false);
  });

  it("of a huge page is not executable under the mitigation", () => {
    const exec = (nxHugePages: boolean): boolean =>
      isExecutablePte(format, new Rig({ format, nxHugePages }).leaf(512, { level: 2 }).spte);
    expect([exec(false), exec(true)]).toEqual([true, false]);
  });

  it("is write-protected if whoever shadows page tables objects", () => {
    const rig = new Rig({ format });
    const asked: unknown[][] = [];
    const refusing: ShadowPageTracker = {
      tryToUnsyncPages: (_cpu, ...args) => {
        asked.push(args);
        return -1;
      },
    };
    const { spte, wrprot } = rig.leaf(3, { prefetch: true, synchronizing: true }, refusing);
    expect(wrprot).toBe(true);
    expect([isWritablePte(spte), isMmuWritableSpte(format, spte)]).toEqual([false, false]);
    expect(asked).toEqual([[rig.memslots, rig.slot, SLOT_GFN + 3, true, true]]);
  });

  it("that was writable is not asked about again", () => {
    const rig = new Rig({ format });
    const refusing: ShadowPageTracker = { tryToUnsyncPages: () => -1 };
    const again = rig.leaf(3, { oldSpte: rig.leaf(3).spte }, refusing);
    expect(again.wrprot).toBe(false);
    expect(isWritablePte(again.spte)).toBe(true);
  });
});

it("software A/D bits of the table's role go into the leaf", () => {
  const format = createSpteFormat({ mode: "ept", adBits: false });
  const disabled = new Rig({ format }).leaf(3);
  const enabled = new Rig().leaf(3);
  expect(BigInt.asUintN(64, disabled.spte & format.rules.spteTdpAdDisabled)).toBe(
    format.rules.spteTdpAdDisabled,
  );
  expect(BigInt.asUintN(64, enabled.spte & format.rules.spteTdpAdDisabled)).toBe(0n);
});

it.each([
  [false, false, false],
  [true, false, false],
  [false, true, false],
  [true, true, true],
])(
  "write protection instead of D, CPU dirty log %s, nested guest %s: %s",
  (cpuDirtyLog, guestMode, expected) => {
    const rig = new Rig({ cpuDirtyLog });
    const { rules } = rig.format;
    const role = kvmCalcTdpMmuRootPageRole(rig.format, { level: 4, guestMode });
    const type = BigInt.asUintN(64, rig.leaf(3, { role }).spte & rules.spteTdpAdWrprotOnly);
    expect(type === rules.spteTdpAdWrprotOnly).toBe(expected);
  },
);

it("without shadow pages only write tracking objects", () => {
  const rig = new Rig();
  const { cpu, memslots } = rig;
  mmuFirstShadowRootAlloc(memslots, cpu);
  cpu.writeLock(memslots.locks.mmuLock);
  kvmWriteTrackAddGfn(memslots, cpu, rig.slot, (SLOT_GFN + 3) as Gfn);
  cpu.writeUnlock(memslots.locks.mmuLock);
  expect([rig.leaf(3).wrprot, rig.leaf(4).wrprot]).toEqual([true, false]);
});

describe.each([
  ["7.3", linux73],
  ["6.15", linux615],
])("the value for no slot, %s", (_name, ruleSet) => {
  it.each(["ept", "npt"] as const)(
    "%s: remembers gfn and access, and changes with the generation",
    (mode) => {
      const format = createSpteFormat({ mode, ruleSet });
      const rig = new Rig({ format });
      const make = (asId = 0): Spte => makeNoSlotSpte(rig, rig.cpu, asId, 0xfee00 as Gfn, ruleSet.accAll);
      const before = make();
      expect(isMmioSpte(format, before)).toBe(true);
      expect(getMmioSpteGfn(format, before)).toBe(0xfee00);
      expect(getMmioSpteAccess(format, before)).toBe(Number(format.shadowMmioAccessMask) & ruleSet.accAll);
      expect(make()).toBe(before);
      expect(make(1)).not.toBe(before);
      rig.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
      expect(make()).not.toBe(before);
    },
  );
});
