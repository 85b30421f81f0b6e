import { RetPf } from "@kvm-age/page-fault";
import type { Gfn } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import {
  kvmTdpMmuClearDirtyPtMasked,
  kvmTdpMmuEnableLogDirtyPtMasked,
  kvmTdpMmuWriteProtectGfn,
  type TdpMmuOptions,
} from "../src/index.js";
import { Guest, SLOT_GFN } from "./kit/guest.js";
import {
  dirtyBit,
  flushes,
  harvestDirtyLog,
  PRESENT,
  READ,
  spteChanges,
  sptepAt,
  underWriteLock,
  WRITE,
} from "./kit/operations.js";
import { FORMATS, ofPage, type ReferenceFormat } from "./kit/reference-values.js";

const W = 2n;

function mapped(reference: ReferenceFormat, options: Partial<TdpMmuOptions> = {}): Guest {
  const guest = new Guest({ ...reference.init, options });
  for (const page of [3, 4, 70]) guest.fault(page, true);
  guest.host.level = 2;
  guest.fault(700, true);
  guest.host.level = 1;
  return guest;
}

/** What arming the log leaves of a young writable 4K leaf. */
function armed(reference: ReferenceFormat, cpuDirtyLog: boolean): bigint {
  return cpuDirtyLog && reference.adBits ? reference.demand & ~reference.dirtyBit : reference.logged;
}

const CASES = FORMATS.flatMap((reference) =>
  [false, true].map((cpuDirtyLog) => ({ ...reference, cpuDirtyLog })),
);

describe.each(CASES)("switching the log on, $name, CPU dirty log $cpuDirtyLog", (reference) => {
  const { cpuDirtyLog } = reference;

  it("arms every 4K leaf by the right bit", () => {
    const guest = mapped(reference, { cpuDirtyLog });
    guest.setSlot(1);
    for (const page of [3, 4, 70]) expect(guest.spte(page)).toBe(ofPage(armed(reference, cpuDirtyLog), page));
  });

  it("splits huge leaves first and arms the parts", () => {
    const guest = mapped(reference, { cpuDirtyLog });
    guest.setSlot(1);
    for (const page of [512, 700, 1023]) {
      expect(guest.entry(page)).toMatchObject({
        level: 1,
        spte: ofPage(armed(reference, cpuDirtyLog), page),
      });
    }
  });

  it("without eager splitting takes W from huge leaves, and D too with a CPU dirty log", () => {
    const guest = mapped(reference, { cpuDirtyLog, eagerPageSplit: false });
    guest.setSlot(1);
    const huge = ofPage(reference.huge, 512) & ~W;
    const expected = cpuDirtyLog && reference.adBits ? huge & ~reference.dirtyBit : huge;
    expect(guest.entry(700)).toMatchObject({ level: 2, spte: expected });
  });

  it("arms what is taken out of the log again", () => {
    const guest = mapped(reference, { cpuDirtyLog });
    guest.setSlot(1);
    guest.setSlot(0);
    const fresh = mapped(reference, { cpuDirtyLog });
    fresh.setSlot(1);
    fresh.fault(5, true);
    expect(fresh.spte(5)).toBe(ofPage(reference.demand, 5));
    expect(harvestDirtyLog(fresh)).toEqual([5]);
    expect(fresh.spte(5)).toBe(ofPage(armed(reference, cpuDirtyLog), 5));
    expect(harvestDirtyLog(fresh)).toEqual([]);
  });
});

describe.each(FORMATS)("the log without a CPU dirty log, $name", (reference) => {
  it("holds what was written since the last harvest", () => {
    const guest = mapped(reference);
    guest.setSlot(1);
    expect(harvestDirtyLog(guest)).toEqual([]);
    expect(guest.faultWithCode(3, PRESENT | WRITE)).toBe(RetPf.fixed);
    expect(guest.faultWithCode(700, PRESENT | WRITE)).toBe(RetPf.fixed);
    expect(harvestDirtyLog(guest)).toEqual([3, 700]);
    expect(guest.spte(3) & W).toBe(0n);
    expect(guest.faultWithCode(3, PRESENT | WRITE)).toBe(RetPf.fixed);
    expect(harvestDirtyLog(guest)).toEqual([3]);
  });

  it("marks a new writable mapping even for a read, and a read-only one not", () => {
    const guest = mapped(reference);
    guest.setSlot(1);
    guest.faultWithCode(10, READ);
    guest.host.writable = false;
    guest.faultWithCode(11, READ);
    expect(harvestDirtyLog(guest)).toEqual([10]);
  });

  it("never has a writable huge page", () => {
    const guest = mapped(reference, { eagerPageSplit: false });
    guest.setSlot(1);
    guest.host.level = 2;
    guest.faultWithCode(1100, WRITE);
    expect(guest.entry(1100).level).toBe(1);
    expect(guest.spte(700) & W).toBe(0n);
    expect(guest.faultWithCode(700, PRESENT | WRITE)).toBe(RetPf.fixed);
    expect(guest.entry(700).level).toBe(1);
    expect([dirtyBit(guest, 700), dirtyBit(guest, 701)]).toEqual([true, false]);
  });
});

it("switching the log on flushes the slot, even if nothing was mapped", () => {
  const guest = new Guest();
  const before = flushes(guest);
  guest.setSlot(1);
  expect(flushes(guest)).toBe(before + 1);
});

it("a harvest flushes once if anything was dirty, after mmu_lock is dropped, and not at all otherwise", () => {
  const guest = new Guest({ slotFlags: 1 });
  const quiet = new RecordingCpu(guest.cpu);
  harvestDirtyLog(guest, quiet);
  expect(quiet.log).not.toContain("flush");
  guest.fault(3, true);
  guest.fault(600, true);
  const cpu = new RecordingCpu(guest.cpu);
  harvestDirtyLog(guest, cpu);
  const steps = cpu.log.filter((step) => step === "flush" || step.endsWith("mmu_lock"));
  expect(steps).toEqual(["write_lock kvm->mmu_lock", "write_unlock kvm->mmu_lock", "flush"]);
});

describe("clearing a window of 64 pages", () => {
  function clear(guest: Guest, offset: number, mask: bigint, wrprot: boolean, cpu = guest.cpu): void {
    underWriteLock(guest, cpu, () =>
      kvmTdpMmuClearDirtyPtMasked(guest.mmu, cpu, guest.slot, offset, mask, wrprot),
    );
  }

  it("touches the pages of the mask only", () => {
    const guest = new Guest();
    for (const page of [63, 64, 65, 127, 128]) guest.fault(page, true);
    clear(guest, 64, (1n << 63n) | 1n, true);
    const protectedPages = [63, 64, 65, 127, 128].filter((page) => (guest.spte(page) & W) === 0n);
    expect(protectedPages).toEqual([64, 127]);
  });

  it("skips huge leaves", () => {
    const guest = new Guest();
    guest.host.level = 2;
    guest.fault(64, true);
    for (const offset of [0, 64, 448]) clear(guest, offset, 0xffffffffffffffffn, true);
    expect(guest.spte(64) & W).toBe(W);
  });

  it.each([
    [true, W],
    [false, 0x200n],
  ])("with wrprot %s emits the value before and after, once for each entry that changed", (wrprot, bit) => {
    const guest = new Guest();
    for (const page of [1, 2]) guest.fault(page, true);
    const cpu = new RecordingCpu(guest.cpu);
    clear(guest, 0, 7n, wrprot, cpu);
    clear(guest, 0, 7n, wrprot, cpu);
    expect(spteChanges(cpu).map(({ gfn, old_spte, new_spte }) => [gfn, old_spte, new_spte])).toEqual(
      [1, 2].map((page) => {
        const young = ofPage(FORMATS[0]!.demand, page);
        return [SLOT_GFN + page, young, young & ~bit];
      }),
    );
    expect(guest.mmu.statistics.read(guest.cpu).pages_4k).toBe(2);
  });

  it("by W leaves D that hardware sets meanwhile", () => {
    const reference = FORMATS[0]!;
    const guest = new Guest();
    guest.fault(1, true);
    const address = sptepAt(guest, 1, 1);
    guest.cpu.fetchAnd(address, ~reference.dirtyBit & 0xffffffffffffffffn, "full");
    const act = (): void => void guest.cpu.fetchOr(address, reference.dirtyBit, "full");
    const cpu = new InterferingCpu(guest.cpu, [{ step: "fetchAnd", address, act }]);
    clear(guest, 0, 2n, true, cpu);
    expect(cpu.happened).toBe(1);
    expect(guest.spte(1)).toBe(ofPage(reference.logged, 1));
  });
});

describe("an initially set log", () => {
  // A slot whose 64-page windows straddle 2M boundaries.
  const BASE = 0x80020;
  const page = (index: number): number => BASE + index - SLOT_GFN;

  function straddling(options: Partial<TdpMmuOptions>): Guest {
    const guest = new Guest({ options });
    const hva = (0x7f0000000000 + (BASE - SLOT_GFN) * 4096) as never;
    guest.setRegion({ slot: 1, gfn: BASE, pages: 2048, hva, flags: 0 });
    guest.host.level = 2;
    for (const index of [0x1e0, 0x3e0, 0x5e0]) guest.fault(page(index), true);
    const slot = guest.memslots.gfnToMemslot(guest.cpu, 0, BASE as Gfn);
    const mask = (1n << 5n) | (1n << 40n);
    underWriteLock(guest, guest.cpu, () =>
      kvmTdpMmuEnableLogDirtyPtMasked(guest.mmu, guest.cpu, slot, 0x3c0, mask, true),
    );
    return guest;
  }

  it("splits the huge pages that the mask reaches", () => {
    const guest = straddling({});
    expect([0x1e0, 0x3e0, 0x5e0].map((index) => guest.entry(page(index)).level)).toEqual([1, 1, 2]);
    const protectedPages = [0x3c4, 0x3c5, 0x3c6, 0x3e8].filter(
      (index) => (guest.spte(page(index)) & W) === 0n,
    );
    expect(protectedPages).toEqual([0x3c5, 0x3e8]);
  });

  it("or write-protects them, first and last", () => {
    const guest = straddling({ eagerPageSplit: false });
    expect([0x1e0, 0x3e0, 0x5e0].map((index) => guest.spte(page(index)) & W)).toEqual([0n, 0n, W]);
  });
});

describe.each(FORMATS)("protecting a gfn for good, $name", (reference) => {
  function protect(guest: Guest, page: number, minLevel: 1 | 2 = 1): boolean {
    return underWriteLock(guest, guest.cpu, () =>
      kvmTdpMmuWriteProtectGfn(guest.mmu, guest.cpu, guest.slot, (SLOT_GFN + page) as Gfn, minLevel),
    );
  }

  it("takes W and MMU-writable, once, and the fast path does not give them back", () => {
    const guest = new Guest(reference.init);
    guest.fault(3, true);
    guest.fault(4, true);
    expect(protect(guest, 3)).toBe(true);
    // D stays: the page was written.
    expect(guest.spte(3)).toBe(ofPage(reference.writeProtected | reference.dirtyBit, 3));
    expect(guest.spte(4)).toBe(ofPage(reference.demand, 4));
    expect(protect(guest, 3)).toBe(false);
    expect(protect(guest, 5)).toBe(false);
  });

  it("changes a leaf whose W was gone already: a stale translation may still be writable", () => {
    const guest = new Guest(reference.init);
    guest.fault(3, true);
    guest.setSlot(1);
    expect(guest.spte(3)).toBe(ofPage(reference.logged, 3));
    expect(protect(guest, 3)).toBe(true);
  });

  it("reaches huge leaves, and only those with a higher minimum level", () => {
    const guest = new Guest(reference.init);
    guest.fault(3, true);
    guest.host.level = 2;
    guest.fault(700, true);
    expect(protect(guest, 3, 2)).toBe(false);
    expect(protect(guest, 700, 2)).toBe(true);
    expect(guest.spte(700) & W).toBe(0n);
  });
});
