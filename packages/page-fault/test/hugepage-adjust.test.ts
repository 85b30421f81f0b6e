import { KVM_MEM_LOG_DIRTY_PAGES, kvmMmuGfnDisallowLpage } from "@kvm-age/memslot";
import {
  type Gfn,
  PFERR_FETCH_MASK,
  type Pfn,
  PG_LEVEL_1G,
  PG_LEVEL_2M,
  PG_LEVEL_4K,
  type PgLevel,
} from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import {
  disallowedHugepageAdjust,
  type KvmPageFault,
  kvmMmuHugepageAdjust,
  SpteCorruptionError,
} from "../src/index.js";
import { HOST_BASE, HOST_PFN } from "./kit/linear-host.js";
import { Rig, type RigInit, SLOT_GFN } from "./kit/rig.js";

const FETCH = PFERR_FETCH_MASK;
/** Inside the second 2 MiB of the slot. */
const PAGE = 700;

interface Case extends RigInit {
  readonly hostLevel?: PgLevel;
  readonly code?: number;
  readonly before?: (rig: Rig, fault: KvmPageFault) => void;
}

/** A fault on `PAGE` after its page was found and its level chosen. */
function adjusted(init: Case = {}): KvmPageFault {
  const rig = new Rig(init);
  rig.host.level = init.hostLevel ?? PG_LEVEL_2M;
  const fault = rig.fault(PAGE, init.code ?? 0);
  fault.pfn = (HOST_PFN + PAGE) as Pfn;
  init.before?.(rig, fault);
  const { mmuLock } = rig.memslots.locks;
  rig.cpu.readLock(mmuLock);
  kvmMmuHugepageAdjust(rig, rig.cpu, rig.host, fault);
  rig.cpu.readUnlock(mmuLock);
  return fault;
}

const SMALL = { reqLevel: PG_LEVEL_4K, goalLevel: PG_LEVEL_4K, pfn: HOST_PFN + PAGE };
const HUGE = { reqLevel: PG_LEVEL_2M, goalLevel: PG_LEVEL_2M, pfn: HOST_PFN + 512 };

describe("the level to be mapped", () => {
  it("is the host's, and the pfn becomes that of the huge page", () => {
    expect(adjusted()).toMatchObject({ ...HUGE, hugePageDisallowed: false });
    expect(adjusted({ hostLevel: PG_LEVEL_4K })).toMatchObject(SMALL);
  });

  it("is what the slot has room for: 16 MiB hold no 1 GiB page", () => {
    expect(adjusted({ hostLevel: PG_LEVEL_1G })).toMatchObject(HUGE);
  });

  it.each([
    [PG_LEVEL_4K, SMALL],
    [PG_LEVEL_2M, HUGE],
    [PG_LEVEL_1G, HUGE],
  ])("is at most the fault's maximum, %i", (maxLevel, expected) => {
    const before = (_rig: Rig, fault: KvmPageFault): void => {
      fault.maxLevel = maxLevel;
    };
    expect(adjusted({ before })).toMatchObject(expected);
  });

  it("is 4K while the slot logs dirty pages", () => {
    expect(adjusted({ slotFlags: KVM_MEM_LOG_DIRTY_PAGES })).toMatchObject(SMALL);
  });

  it("is 4K outside every slot", () => {
    const before = (rig: Rig, fault: KvmPageFault): void => {
      fault.slot = rig.faultAt(0x80000, 0).slot;
    };
    expect(adjusted({ before })).toMatchObject(SMALL);
  });

  it("is 4K where something in the huge page forbids it, and there only", () => {
    const disallow = (page: number) => (rig: Rig) => {
      const { mmuLock } = rig.memslots.locks;
      rig.cpu.writeLock(mmuLock);
      kvmMmuGfnDisallowLpage(rig.cpu, rig.slot, (SLOT_GFN + page) as Gfn);
      rig.cpu.writeUnlock(mmuLock);
    };
    expect(adjusted({ before: disallow(1023) })).toMatchObject(SMALL);
    expect(adjusted({ before: disallow(1024) })).toMatchObject(HUGE);
  });

  it("is 4K if guest and host addresses of the slot are not aligned alike", () => {
    expect(adjusted({ hva: HOST_BASE + 4096 })).toMatchObject(SMALL);
  });
});

describe("a host that maps a huge page at another alignment than it reported the page", () => {
  const before = (_rig: Rig, fault: KvmPageFault): void => {
    fault.pfn = (fault.pfn + 1) as Pfn;
  };

  it("is an error that carries gfn and level", () => {
    expect(() => adjusted({ before })).toThrow(SpteCorruptionError);
    expect(() => adjusted({ before })).toThrow(/alignment: gfn 0x402bc level 2/);
  });
});

describe("the NX mitigation", () => {
  it("lets a fetch have small pages only, and remembers what it could have had", () => {
    expect(adjusted({ nxHugePages: true, code: FETCH })).toMatchObject({
      ...SMALL,
      reqLevel: PG_LEVEL_2M,
      hugePageDisallowed: true,
    });
  });

  it("leaves other accesses alone, and fetches where it is off", () => {
    expect(adjusted({ nxHugePages: true })).toMatchObject({ ...HUGE, hugePageDisallowed: false });
    expect(adjusted({ code: FETCH })).toMatchObject({ ...HUGE, hugePageDisallowed: false });
  });
});

describe("a table of the NX mitigation in the way of a huge page", () => {
  function fault(goalLevel: PgLevel, pfn: number): KvmPageFault {
    const found = new Rig().fault(PAGE, 0);
    found.goalLevel = goalLevel;
    found.pfn = pfn as Pfn;
    return found;
  }

  it("at 2M: maps 4K, and the pfn is that of the page again", () => {
    const found = fault(PG_LEVEL_2M, HOST_PFN + 512);
    disallowedHugepageAdjust(found, PG_LEVEL_2M, true);
    expect(found).toMatchObject({ goalLevel: PG_LEVEL_4K, pfn: HOST_PFN + PAGE });
  });

  it("at 1G: maps 2M, then 4K if there is one below as well", () => {
    const found = fault(PG_LEVEL_1G, HOST_PFN);
    disallowedHugepageAdjust(found, PG_LEVEL_1G, true);
    expect(found).toMatchObject({ goalLevel: PG_LEVEL_2M, pfn: HOST_PFN + 512 });
    disallowedHugepageAdjust(found, PG_LEVEL_2M, true);
    expect(found).toMatchObject({ goalLevel: PG_LEVEL_4K, pfn: HOST_PFN + PAGE });
  });

  it.each([
    ["another level", PG_LEVEL_1G, true],
    ["an ordinary table or none", PG_LEVEL_2M, false],
  ] as const)("not at %s", (_name, level, isNxDisallowedTable) => {
    const found = fault(PG_LEVEL_2M, HOST_PFN + 512);
    disallowedHugepageAdjust(found, level, isNxDisallowedTable);
    expect(found).toMatchObject({ goalLevel: PG_LEVEL_2M, pfn: HOST_PFN + 512 });
  });

  it("not for a small page", () => {
    const found = fault(PG_LEVEL_4K, HOST_PFN + PAGE);
    disallowedHugepageAdjust(found, PG_LEVEL_4K, true);
    expect(found).toMatchObject(SMALL);
  });
});
