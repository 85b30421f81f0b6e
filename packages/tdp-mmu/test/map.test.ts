import { kvmMmuGfnDisallowLpage } from "@kvm-age/memslot";
import { RetPf, SpteCorruptionError } from "@kvm-age/page-fault";
import type { Gfn, Pfn } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { Guest, SLOT_GFN } from "./kit/guest.js";
import {
  flushes,
  leaves,
  PRESENT,
  path,
  READ,
  tables,
  trackWrites,
  underWriteLock,
  WRITE,
} from "./kit/operations.js";
import { FORMATS, ofPage, withPfn } from "./kit/reference-values.js";

describe.each(FORMATS)("a fault on 4K pages, $name", (reference) => {
  const make = (): Guest => new Guest(reference.init);

  it("makes three tables and a leaf that is born young, writable and dirty", () => {
    const guest = make();
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.fixed);
    const steps = path(guest, 3);
    expect(steps.map(({ level }) => level)).toEqual([4, 3, 2, 1]);
    for (const [index, { spte }] of steps.slice(0, 3).entries()) {
      const childTable = Math.floor(steps[index + 1]!.sptep / 4096);
      expect(spte).toBe(withPfn(reference.table, childTable));
    }
    expect(steps[3]!.spte).toBe(ofPage(reference.demand, 3));
    expect(tables(guest)).toBe(3);
    expect(leaves(guest)).toEqual([1, 0, 0]);
  });

  it("maps a read through a writable host page writable as well", () => {
    const guest = make();
    expect(guest.faultWithCode(3, READ)).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
  });

  it("maps a read-only host page without any right to write", () => {
    const guest = make();
    guest.host.writable = false;
    expect(guest.faultWithCode(3, READ)).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.hostReadOnly, 3));
    guest.host.writable = true;
    expect(guest.faultWithCode(3, PRESENT | WRITE)).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
    expect(leaves(guest)).toEqual([1, 0, 0]);
  });

  it("maps a prefetched page old, and does not touch what is there already", () => {
    const guest = make();
    expect(guest.faultWithCode(3, READ, guest.cpu, true)).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.prefetch, 3));
    // Without hardware A/D bits the fast path, which does not ask about prefetching, restores the entry.
    const again = reference.adBits ? RetPf.spurious : RetPf.fixed;
    const left = reference.adBits ? reference.prefetch : reference.restoredByRead!;
    expect(guest.faultWithCode(3, READ, guest.cpu, true)).toBe(again);
    expect(guest.spte(3)).toBe(ofPage(left, 3));
  });

  it("maps a write-tracked page without W and MMU-writable", () => {
    const guest = make();
    trackWrites(guest, 3);
    expect(guest.faultWithCode(3, READ)).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.writeProtected, 3));
    expect(guest.faultWithCode(3, PRESENT | WRITE)).toBe(RetPf.writeProtected);
    expect(guest.faultWithCode(4, WRITE)).toBe(RetPf.fixed);
    expect(guest.spte(4)).toBe(ofPage(reference.demand, 4));
  });

  it("maps a write-tracked page even when the first access is a write, which is emulated", () => {
    const guest = make();
    trackWrites(guest, 3);
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.writeProtected);
    expect(guest.spte(3)).toBe(ofPage(reference.writeProtected, 3));
  });

  it("finds a repeated fault spurious and changes nothing", () => {
    const guest = make();
    guest.faultWithCode(3, WRITE);
    const before = guest.entry(3);
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.spurious);
    expect(guest.entry(3)).toEqual(before);
    expect(tables(guest)).toBe(3);
  });

  it("maps 2M for a huge host page, with gfn and pfn rounded down", () => {
    const guest = make();
    guest.host.level = 2;
    expect(guest.faultWithCode(700, WRITE)).toBe(RetPf.fixed);
    const { spte, level } = guest.entry(700);
    expect({ spte, level }).toEqual({ spte: ofPage(reference.huge, 512), level: 2 });
    expect(guest.entry(1023)).toEqual(guest.entry(512));
    expect(leaves(guest)).toEqual([0, 1, 0]);
    expect(tables(guest)).toBe(2);
  });
});

it("five levels need one table more", () => {
  const guest = new Guest({ rootLevel: 5 });
  expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.fixed);
  expect(path(guest, 3).map(({ level }) => level)).toEqual([5, 4, 3, 2, 1]);
  expect(tables(guest)).toBe(4);
});

it("counts what became of the faults by the kernel's names", () => {
  const guest = new Guest();
  guest.faultWithCode(3, WRITE);
  guest.faultWithCode(3, WRITE);
  guest.faultWithCode(3, PRESENT | WRITE);
  guest.faultWithCode(5000, WRITE);
  expect(guest.mmu.statistics.read(guest.cpu)).toMatchObject({
    pages_4k: 1,
    pages_2m: 0,
    pages_1g: 0,
    pf_taken: 4,
    pf_fixed: 1,
    pf_fast: 1,
    pf_spurious: 2,
    pf_emulate: 1,
    pf_mmio_spte_created: 1,
  });
});

it("refuses another pfn over a present leaf, which only a missed invalidation explains", () => {
  const guest = new Guest();
  guest.host.writable = false;
  guest.faultWithCode(3, READ);
  guest.host.hvaToPfn = () => ({ error: null, pfn: 0x999999 as Pfn, mapWritable: true });
  expect(() => guest.faultWithCode(3, PRESENT | WRITE)).toThrow(SpteCorruptionError);
});

describe("the level of a mapping", () => {
  const ONE_GIB = 262144;

  it("is 1G if slot and host allow it", () => {
    const guest = new Guest({ slotPages: ONE_GIB });
    guest.host.level = 3;
    expect(guest.faultWithCode(5, WRITE)).toBe(RetPf.fixed);
    expect(guest.entry(5)).toMatchObject({ level: 3, spte: ofPage(FORMATS[0]!.huge, 0) });
    expect(guest.entry(ONE_GIB - 1)).toEqual(guest.entry(5));
    expect(leaves(guest)).toEqual([0, 0, 1]);
    expect(tables(guest)).toBe(1);
  });

  it("is at most what the slot holds as a whole", () => {
    const guest = new Guest({ slotPages: ONE_GIB - 1 });
    guest.host.level = 3;
    guest.faultWithCode(5, WRITE);
    expect(guest.entry(5).level).toBe(2);
    guest.faultWithCode(ONE_GIB - 2, WRITE);
    expect(guest.entry(ONE_GIB - 2).level).toBe(1);
  });

  it("is 4K in the ragged head and tail of a slot, 2M between", () => {
    const guest = new Guest();
    const shift = 0x80000 - SLOT_GFN;
    guest.setRegion({
      slot: 1,
      gfn: 0x80003,
      pages: 1024,
      hva: (0x7f0000000000 + 0x40003 * 4096) as never,
      flags: 0,
    });
    guest.host.level = 2;
    const levels = [3, 511, 512, 1023, 1024, 1026].map((page) => {
      guest.faultWithCode(shift + page, WRITE);
      return guest.entry(shift + page).level;
    });
    expect(levels).toEqual([1, 1, 2, 2, 1, 1]);
  });

  it("is 4K everywhere if gfn and hva do not agree below the size", () => {
    const guest = new Guest();
    guest.setRegion({ slot: 1, gfn: 0x80000, pages: 1024, hva: (0x7f0000000000 + 4096) as never, flags: 0 });
    guest.host.level = 2;
    guest.faultWithCode(0x80000 - SLOT_GFN, WRITE);
    expect(guest.entry(0x80000 - SLOT_GFN).level).toBe(1);
  });

  it("is 4K where a page is write-tracked, 2M beside", () => {
    const guest = new Guest();
    guest.host.level = 2;
    trackWrites(guest, 5);
    guest.faultWithCode(6, WRITE);
    guest.faultWithCode(512, WRITE);
    expect([guest.entry(6).level, guest.entry(512).level]).toEqual([1, 2]);
  });

  it("follows disallow_lpage alone", () => {
    const guest = new Guest();
    guest.host.level = 2;
    underWriteLock(guest, guest.cpu, () =>
      kvmMmuGfnDisallowLpage(guest.cpu, guest.slot, (SLOT_GFN + 5) as Gfn),
    );
    guest.faultWithCode(6, WRITE);
    expect(guest.entry(6).level).toBe(1);
  });

  it("is 4K in a dirty-logged slot", () => {
    const guest = new Guest({ slotFlags: 1 });
    guest.host.level = 2;
    guest.faultWithCode(6, WRITE);
    expect(guest.entry(6).level).toBe(1);
  });

  it("is that of the first fault until the table is replaced", () => {
    const guest = new Guest();
    guest.host.level = 1;
    guest.faultWithCode(6, WRITE);
    guest.host.level = 2;
    expect(guest.faultWithCode(6, PRESENT | WRITE)).toBe(RetPf.spurious);
    expect(guest.entry(6).level).toBe(1);
    expect(flushes(guest)).toBe(0);
  });
});
