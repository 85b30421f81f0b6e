import { OUTSIDE_GUEST_MODE, UseAfterFreeError } from "@kvm-age/machine";
import { KvmPageFault } from "@kvm-age/page-fault";
import { isFrozenSpte } from "@kvm-age/spte";
import { InterferingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import {
  clearSpWriteFloodingCount,
  shadowPageTableClearFlood,
} from "../../src/fault/clear-sp-write-flooding-count.js";
import { ShadowLocklessWalk } from "../../src/fault/shadow-lockless-walk.js";
import { writeFloodingCountWord } from "../../src/page/kvm-mmu-page.js";
import { sptepToSp } from "../../src/page/sptep-to-sp.js";
import { kvmMmuUnload } from "../../src/root/kvm-mmu-unload.js";
import { LeafGuest, READ, SLOT_GFN } from "./kit/leaf-guest.js";

const PAGE = 3;

function walkOf(guest: LeafGuest): { walk: ShadowLocklessWalk; fault: KvmPageFault } {
  const fault = new KvmPageFault((SLOT_GFN + PAGE) * 4096, READ, false);
  return { walk: new ShadowLocklessWalk(guest.mmu, guest.vcpu), fault };
}

describe("a lockless walk", () => {
  it("finds the lowest entry on the path, with its level", () => {
    const guest = new LeafGuest();
    guest.touch(PAGE, true);
    const { walk, fault } = walkOf(guest);
    walk.begin(guest.cpu);
    const found = walk.lastSpte(guest.cpu, fault);
    walk.end(guest.cpu);
    expect(found).toEqual({ sptep: guest.sptep(PAGE), oldSpte: guest.spte(PAGE), level: 1 });
    expect(walk.found).toBe(found);
  });

  it("ends at the first entry that is not present", () => {
    const guest = new LeafGuest();
    const { walk, fault } = walkOf(guest);
    walk.begin(guest.cpu);
    expect(walk.lastSpte(guest.cpu, fault).level).toBe(4);
    walk.end(guest.cpu);
  });

  it("without a root finds no entry, and a value that nothing can be done with", () => {
    const guest = new LeafGuest();
    guest.inSrcu(() => kvmMmuUnload(guest.mmu, guest.cpu, guest.vcpu));
    const { walk, fault } = walkOf(guest);
    walk.begin(guest.cpu);
    const { sptep, oldSpte } = walk.lastSpte(guest.cpu, fault);
    walk.end(guest.cpu);
    expect(sptep).toBe(0);
    expect(isFrozenSpte(guest.format, oldSpte)).toBe(true);
  });

  it("is waited for by whoever frees tables: until it ends the entry can be read and exchanged", () => {
    const guest = new LeafGuest();
    guest.touch(PAGE, true);
    const walker = guest.attach();
    const { walk, fault } = walkOf(guest);
    walk.begin(walker);
    const { sptep, oldSpte } = walk.lastSpte(walker, fault);
    const endWalk = (): void => {
      // Unlinked and empty, not freed.
      expect(walker.cmpxchg(sptep, oldSpte, oldSpte, "full")).toBe(1n << 63n);
      walk.end(walker);
    };
    const zapper = new InterferingCpu(guest.cpu, [
      { step: "relax", act: endWalk },
      { step: "relax", nth: 2, act: () => expect.unreachable("waits for a walk that has ended") },
    ]);
    guest.zapAll(zapper);
    expect(zapper.happened).toBe(1);
    expect(() => walker.readOnce(sptep)).toThrow(UseAfterFreeError);
    expect(guest.leaves()).toEqual([0, 0, 0]);
  });

  it("is not waited for before it begins or after it ends", () => {
    const guest = new LeafGuest();
    guest.touch(PAGE, true);
    const { walk } = walkOf(guest);
    walk.begin(guest.cpu);
    walk.end(guest.cpu);
    expect(guest.cpu.readOnce32(guest.vcpu.modeWord)).toBe(OUTSIDE_GUEST_MODE);
    const act = () => expect.unreachable("nobody is in a walk");
    const zapper = new InterferingCpu(guest.cpu, [{ step: "relax", act }]);
    guest.zapAll(zapper);
    expect(zapper.happened).toBe(0);
  });
});

describe("write-flooding counts", () => {
  it("are cleared for every table on the path, without a lock", () => {
    const guest = new LeafGuest();
    guest.touch(PAGE, true);
    guest.touch(600, true);
    const counts = (page: number): number[] =>
      guest
        .path(page)
        .map(({ sptep }) =>
          guest.cpu.readOnce32(writeFloodingCountWord(sptepToSp(guest.mmu, guest.cpu, sptep))),
        );
    for (const page of [PAGE, 600]) {
      for (const { sptep } of guest.path(page)) {
        guest.cpu.writeOnce32(writeFloodingCountWord(sptepToSp(guest.mmu, guest.cpu, sptep)), 2);
      }
    }
    shadowPageTableClearFlood(guest.mmu, guest.cpu, guest.vcpu, (SLOT_GFN + PAGE) * 4096);
    expect(counts(PAGE)).toEqual([0, 0, 0, 0]);
    expect(counts(600)).toEqual([0, 0, 0, 2]);
    clearSpWriteFloodingCount(guest.mmu, guest.cpu, guest.sptep(600));
    expect(counts(600)).toEqual([0, 0, 0, 0]);
    guest.expectSound();
  });
});
