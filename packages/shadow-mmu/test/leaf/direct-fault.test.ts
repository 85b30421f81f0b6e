import { memberRequestsWord } from "@kvm-age/machine";
import { KVM_MEM_LOG_DIRTY_PAGES, kvmWriteTrackAddGfn, mmuFirstShadowRootAlloc } from "@kvm-age/memslot";
import { REQUEST_MMU_FREE_OBSOLETE_ROOTS, RetPf } from "@kvm-age/page-fault";
import { isExecutablePte, PFERR_FETCH_MASK } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmMmuSlotGfnWriteProtect } from "../../src/dirty/kvm-mmu-slot-gfn-write-protect.js";
import { ShadowPageCorruptionError } from "../../src/errors.js";
import { kvmMmuZapAllFastBegin } from "../../src/zap/kvm-mmu-zap-all-fast.js";
import { LeafGuest, type LeafGuestInit, PRESENT, READ, SLOT_GFN, WRITE } from "./kit/leaf-guest.js";
import { FORMATS, ofPage, withPfn } from "./kit/reference-values.js";

const LARGE: LeafGuestInit = { slotPages: 2 * 512 * 512 };

describe.each(FORMATS)("a linear fault, $name", (reference) => {
  it("maps one small page, as the host allows it", () => {
    const guest = new LeafGuest(reference.init);
    expect(guest.faultWithCode(3, WRITE).ret).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
    expect(guest.leaves()).toEqual([1, 0, 0]);
    expect(guest.host.released).toEqual({ unused: 0, clean: 0, dirty: 1 });
    guest.expectSound();
  });

  it("maps it read-only where the host does, and gives the page back clean", () => {
    const guest = new LeafGuest(reference.init);
    guest.host.writable = false;
    expect(guest.faultWithCode(3, READ).ret).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.hostReadOnly, 3));
    expect(guest.host.released).toEqual({ unused: 0, clean: 1, dirty: 0 });
  });

  it("is spurious if the entry is right already", () => {
    const guest = new LeafGuest(reference.init);
    guest.faultWithCode(3, WRITE);
    expect(guest.faultWithCode(3, READ).ret).toBe(RetPf.spurious);
    guest.expectSound();
  });

  it("maps 2 MiB where slot and host allow it, also from an address inside", () => {
    const guest = new LeafGuest(reference.init);
    guest.host.level = 2;
    guest.faultWithCode(700, WRITE);
    expect(guest.entry(700)).toMatchObject({ level: 2, spte: ofPage(reference.huge, 512) });
    expect(guest.leaves()).toEqual([0, 1, 0]);
    guest.expectSound();
  });

  it("maps 1 GiB with two dimensions, 2 MiB with paging off", () => {
    const guest = new LeafGuest({ ...reference.init, ...LARGE });
    guest.host.level = 3;
    guest.faultWithCode(700, WRITE);
    const pagingOff = reference.init.mode === "shadow";
    expect(guest.leaves()).toEqual(pagingOff ? [0, 1, 0] : [0, 0, 1]);
    expect(guest.spte(700)).toBe(ofPage(reference.huge, pagingOff ? 512 : 0));
    guest.expectSound();
  });

  it("replaces a table of small pages by a huge page, and flushes", () => {
    const guest = new LeafGuest(reference.init);
    guest.faultWithCode(600, WRITE);
    guest.faultWithCode(601, WRITE);
    guest.host.level = 2;
    const cpu = new RecordingCpu(guest.cpu);
    guest.faultWithCode(700, WRITE, cpu);
    expect(guest.leaves()).toEqual([2, 1, 0]);
    expect(guest.entry(600)).toMatchObject({ level: 2, spte: ofPage(reference.huge, 512) });
    expect(cpu.flushes()).toEqual([`flush 0x${(SLOT_GFN + 512).toString(16)}+512`]);
    guest.expectSound();
  });

  it("replaces a huge page by a table where the host does not allow it any more", () => {
    const guest = new LeafGuest(reference.init);
    guest.host.level = 2;
    guest.faultWithCode(700, WRITE);
    guest.host.level = 1;
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(601, PRESENT, cpu).ret).toBe(RetPf.fixed);
    expect(guest.leaves()).toEqual([1, 0, 0]);
    expect(guest.spte(601)).toBe(ofPage(reference.demand, 601));
    expect(cpu.flushes().length).toBeGreaterThan(0);
    guest.expectSound();
  });

  it("logs a page that it maps writable in a logged slot, in small pages only", () => {
    const guest = new LeafGuest(reference.init);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    guest.host.level = 2;
    guest.faultWithCode(700, WRITE);
    expect(guest.leaves()).toEqual([1, 0, 0]);
    expect(guest.dirtyBit(700)).toBe(true);
    expect(guest.harvestDirtyLog()).toEqual([700]);
    guest.expectSound();
  });

  it("refuses to map another page over a linear entry that was not zapped", () => {
    const guest = new LeafGuest(reference.init);
    guest.faultWithCode(3, WRITE);
    guest.cpu.writeOnce(guest.sptep(3), withPfn(reference.writeProtected, 0x777777));
    expect(() => guest.faultWithCode(3, WRITE)).toThrow(ShadowPageCorruptionError);
  });

  it("emits the events of a fault", () => {
    const guest = new LeafGuest(reference.init);
    const cpu = new RecordingCpu(guest.cpu);
    guest.faultWithCode(3, WRITE, cpu);
    const names = cpu.events.map(({ name }) => name);
    expect(names.filter((name) => name !== "fast_page_fault")[0]).toBe("kvm_mmu_spte_requested");
    expect(names.at(-1)).toBe("kvm_mmu_set_spte");
    const { fields } = cpu.events.at(-1)!;
    const entry = { spte: guest.spte(3), level: 1, sptep: guest.sptep(3) };
    expect(fields).toEqual({ gfn: SLOT_GFN + 3, ...entry, r: true, x: true, u: true });
  });
});

describe.each(FORMATS)("a page whose writes are tracked, $name", (reference) => {
  const track = (guest: LeafGuest, page: number): void => {
    const { cpu, mmu, memslots } = guest;
    guest.inSrcu(() => mmuFirstShadowRootAlloc(memslots, cpu), cpu);
    guest.underSlotsLock(
      () =>
        guest.underWriteLock(() => {
          kvmWriteTrackAddGfn(memslots, cpu, guest.slot, guest.gfn(page));
          if (kvmMmuSlotGfnWriteProtect(mmu, cpu, guest.slot, guest.gfn(page), 1)) {
            cpu.flushRemoteTlbs(guest.flushDomain, null);
          }
        }, cpu),
      cpu,
    );
  };

  it("loses W and MMU-writable at once, and a write to it is emulated without the lock", () => {
    const guest = new LeafGuest(reference.init);
    guest.touch(3, true);
    track(guest, 3);
    expect(guest.spte(3) & (2n | reference.mmuWritableBit)).toBe(0n);
    const cpu = new RecordingCpu(guest.cpu);
    const { ret } = guest.faultWithCode(3, PRESENT | WRITE, cpu);
    expect(ret).toBe(RetPf.emulate);
    expect(cpu.events.map(({ name }) => name)).not.toContain("kvm_mmu_spte_requested");
  });

  it("is mapped write-protected for good by a first fault", () => {
    const guest = new LeafGuest(reference.init);
    guest.host.level = 2;
    track(guest, 3);
    expect(guest.faultWithCode(3, READ).ret).toBe(RetPf.fixed);
    expect(guest.entry(3)).toMatchObject({ level: 1, spte: ofPage(reference.writeProtected, 3) });
    guest.expectSound();
  });

  it("write-protects huge pages from the level that was asked for", () => {
    const guest = new LeafGuest(reference.init);
    guest.host.level = 2;
    guest.touch(3, true);
    const protect = (minLevel: 1 | 2 | 3): boolean =>
      guest.underWriteLock(() =>
        kvmMmuSlotGfnWriteProtect(guest.mmu, guest.cpu, guest.slot, guest.gfn(300), minLevel),
      );
    expect(protect(3)).toBe(false);
    expect(guest.spte(3)).toBe(ofPage(reference.huge, 0));
    expect(protect(2)).toBe(true);
    expect(guest.spte(3) & (2n | reference.mmuWritableBit)).toBe(0n);
    expect(protect(1)).toBe(false);
  });
});

describe("staleness", () => {
  it("an invalidation during the lookup makes the guest try again; the page is given back unused", () => {
    const guest = new LeafGuest();
    const host = guest.attach();
    guest.host.onLookup = () => {
      guest.host.onLookup = () => {};
      guest.unmap(3, 4, false, host);
    };
    expect(guest.faultWithCode(3, WRITE).ret).toBe(RetPf.retry);
    expect(guest.leaves()).toEqual([0, 0, 0]);
    expect(guest.host.released).toEqual({ unused: 1, clean: 0, dirty: 0 });
    expect(guest.faultWithCode(3, WRITE).ret).toBe(RetPf.fixed);
    guest.expectSound();
  });

  it("an invalidation that covers the page and is still open does, another does not", () => {
    const guest = new LeafGuest();
    guest.invalidateStart(3, 4);
    expect(guest.faultWithCode(3, WRITE).ret).toBe(RetPf.retry);
    expect(guest.faultWithCode(5, WRITE).ret).toBe(RetPf.fixed);
    guest.invalidateEnd();
    expect(guest.faultWithCode(3, WRITE).ret).toBe(RetPf.fixed);
    guest.expectSound();
  });

  it("the check under the lock sees what began after the checks outside it", () => {
    const guest = new LeafGuest();
    const host = guest.attach();
    const cpu = new RecordingCpu(guest.cpu);
    const { writeLock } = cpu;
    let raced = false;
    cpu.writeLock = (lock) => {
      if (!raced) guest.invalidateStart(3, 4, false, host);
      raced = true;
      writeLock.call(cpu, lock);
    };
    expect(guest.faultWithCode(3, WRITE, cpu).ret).toBe(RetPf.retry);
    guest.invalidateEnd(host);
    expect(guest.leaves()).toEqual([0, 0, 0]);
    guest.expectSound();
  });

  it("an obsolete root maps nothing", () => {
    const guest = new LeafGuest();
    guest.underSlotsLock(() => guest.underWriteLock(() => kvmMmuZapAllFastBegin(guest.mmu, guest.cpu)));
    expect(guest.faultWithCode(3, WRITE).ret).toBe(RetPf.retry);
    expect(guest.leaves()).toEqual([0, 0, 0]);
  });

  it("a three-level root, which has no page, is taken for obsolete while that is asked for", () => {
    const guest = new LeafGuest({ mode: "shadow" });
    const requests = memberRequestsWord(guest.flushDomain, guest.vcpu.id);
    guest.cpu.writeOnce32(requests, REQUEST_MMU_FREE_OBSOLETE_ROOTS);
    expect(guest.faultWithCode(3, WRITE).ret).toBe(RetPf.retry);
    guest.cpu.writeOnce32(requests, 0);
    expect(guest.faultWithCode(3, WRITE).ret).toBe(RetPf.fixed);
  });
});

describe("the quota of shadow pages", () => {
  it("makes room by zapping the oldest pages", () => {
    const guest = new LeafGuest({ slotPages: 512 * 64 });
    guest.cpu.writeOnce32(guest.mmu.nMaxMmuPagesWord, 30);
    for (let table = 0; table < 60; table++)
      expect(guest.faultWithCode(table * 512, WRITE).ret).toBe(RetPf.fixed);
    const { mmu_shadow_pages, mmu_recycled } = guest.mmu.statistics.read(guest.cpu);
    expect(mmu_shadow_pages).toBeLessThanOrEqual(30);
    expect(mmu_recycled).toBeGreaterThan(20);
    guest.expectSound();
  });

  it("fails with ENOSPC, and gives the page back, if roots use it up", () => {
    const guest = new LeafGuest();
    guest.cpu.writeOnce32(guest.mmu.nMaxMmuPagesWord, 1);
    const { ret, errno } = guest.faultWithCode(3, WRITE);
    expect([ret, errno]).toEqual([RetPf.error, "ENOSPC"]);
    expect(guest.host.released).toEqual({ unused: 0, clean: 0, dirty: 1 });
    guest.expectSound();
  });
});

describe("prefetch", () => {
  const WITH_AD = FORMATS.filter(({ adBits }) => adBits);

  it.each(WITH_AD)("maps the aligned eight around the page, old and writable, $name", (reference) => {
    const guest = new LeafGuest(reference.init);
    guest.host.prefetchable = true;
    guest.faultWithCode(11, WRITE);
    const present = Array.from({ length: 24 }, (_, page) => page).filter(
      (page) => guest.spte(page) !== 1n << 63n,
    );
    expect(present).toEqual([8, 9, 10, 11, 12, 13, 14, 15]);
    expect(guest.spte(11)).toBe(ofPage(reference.demand, 11));
    for (const page of [8, 15]) expect(guest.spte(page)).toBe(ofPage(reference.prefetch, page));
    expect(guest.age(8, 11)).toBe(false);
    expect(guest.age(8, 16)).toBe(true);
    expect(guest.host.released).toEqual({ unused: 0, clean: 0, dirty: 8 });
    guest.expectSound();
  });

  it("leaves entries alone that are there", () => {
    const guest = new LeafGuest();
    guest.faultWithCode(9, READ);
    guest.age(9, 10);
    const before = guest.spte(9);
    guest.host.prefetchable = true;
    guest.faultWithCode(11, WRITE);
    expect(guest.spte(9)).toBe(before);
    expect(guest.leaves()).toEqual([8, 0, 0]);
    guest.expectSound();
  });

  it("does not happen without hardware A/D bits, for huge pages, or during an invalidation", () => {
    const withoutAd = new LeafGuest({ adBits: false });
    withoutAd.host.prefetchable = true;
    withoutAd.faultWithCode(11, WRITE);
    expect(withoutAd.leaves()).toEqual([1, 0, 0]);

    const huge = new LeafGuest();
    huge.host.prefetchable = true;
    huge.host.level = 2;
    huge.faultWithCode(11, WRITE);
    expect(huge.leaves()).toEqual([0, 1, 0]);

    const invalidated = new LeafGuest();
    invalidated.host.prefetchable = true;
    invalidated.invalidateStart(600, 601);
    invalidated.faultWithCode(11, WRITE);
    expect(invalidated.leaves()).toEqual([1, 0, 0]);
    invalidated.invalidateEnd();
  });

  it("does not map writable what would have to be logged", () => {
    const guest = new LeafGuest();
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    guest.host.prefetchable = true;
    guest.faultWithCode(11, WRITE);
    expect(guest.leaves()).toEqual([1, 0, 0]);
    expect(guest.harvestDirtyLog()).toEqual([11]);
  });

  it("stops at the end of the slot", () => {
    const guest = new LeafGuest({ slotPages: 13 });
    guest.host.prefetchable = true;
    guest.faultWithCode(11, WRITE);
    // The run before the page is within the slot; the one behind it is not.
    expect(guest.leaves()).toEqual([4, 0, 0]);
    guest.expectSound();
  });
});

describe("the NX mitigation", () => {
  it("maps small pages for a fetch, remembers the table, and keeps it on the next read", () => {
    const guest = new LeafGuest({ options: { nxHugePages: true } });
    guest.host.level = 2;
    expect(guest.faultWithCode(700, PFERR_FETCH_MASK).ret).toBe(RetPf.fixed);
    expect(guest.leaves()).toEqual([1, 0, 0]);
    expect(isExecutablePte(guest.format, guest.spte(700))).toBe(true);
    expect(guest.cpu.readOnce32(guest.mmu.possibleNxCountWord)).toBe(1);
    guest.faultWithCode(701, READ);
    expect(guest.leaves()).toEqual([2, 0, 0]);
    guest.faultWithCode(3, READ);
    expect(guest.leaves()).toEqual([2, 1, 0]);
    expect(isExecutablePte(guest.format, guest.spte(3))).toBe(false);
    guest.expectSound();
  });
});
