import { OutOfMemoryError } from "@kvm-age/machine";
import { KVM_MEM_LOG_DIRTY_PAGES } from "@kvm-age/memslot";
import { RetPf } from "@kvm-age/page-fault";
import { pteListCount } from "@kvm-age/rmap";
import { PG_LEVEL_2M, PG_LEVEL_4K } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmShadowMmuTrySplitHugePages } from "../../src/huge/kvm-shadow-mmu-try-split-huge-pages.js";
import { gfnToRmap } from "../../src/leaf-rmap/gfn-to-rmap.js";
import { LeafGuest, PRESENT, READ, WRITE } from "./kit/leaf-guest.js";
import { NestedGuest, type NestedGuestInit } from "./kit/nested-guest.js";

const W = 2n;
const EVERY_FORMAT: readonly (readonly [string, NestedGuestInit])[] = [
  ["EPT", { mode: "ept" }],
  ["EPT without A/D bits", { mode: "ept", adBits: false }],
  ["NPT", { mode: "npt" }],
];

/** L2 page 0x200 … is mapped by one 2 MiB page to pages 512 … 1023 of the slot. */
function huge(init: NestedGuestInit): NestedGuest {
  const guest = new NestedGuest(init);
  guest.host.level = 2;
  guest.mapL2(0x200, 512, 2);
  expect(guest.l2Fault(0x234, WRITE).ret).toBe(RetPf.fixed);
  expect(guest.leaves()).toEqual([0, 1, 0]);
  return guest;
}

function split(guest: NestedGuest, start: number, end: number, cpu = guest.cpu, target: 1 | 2 = 1): void {
  guest.underSlotsLock(
    () =>
      guest.underWriteLock(
        () =>
          kvmShadowMmuTrySplitHugePages(guest.mmu, cpu, guest.slot, guest.gfn(start), guest.gfn(end), target),
        cpu,
      ),
    cpu,
  );
}

const SPLIT_EVENT = "kvm_mmu_split_huge_page";

describe.each(EVERY_FORMAT)("splitting L2's huge pages, %s", (_name, init) => {
  it("replaces one by 512 small ones that say the same, without a flush", () => {
    const guest = huge(init);
    const before = guest.l2Entry(0x234).spte;
    const cpu = new RecordingCpu(guest.cpu);
    split(guest, 0, 2048, cpu);
    expect(guest.leaves()).toEqual([512, 0, 0]);
    const { spte, level } = guest.l2Entry(0x234);
    expect(level).toBe(1);
    expect(spte).toBe((before & ~0x80n) | (0x34n << 12n));
    expect(cpu.flushes()).toEqual([]);
    const errnos = cpu.events.filter(({ name }) => name === SPLIT_EVENT).map(({ fields }) => fields.errno);
    expect(errnos).toEqual([-11, 0]);
    guest.expectSound();
  });

  it("happens when logging is switched on, and L2's writes are logged page by page", () => {
    const guest = huge(init);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    expect(guest.leaves()).toEqual([512, 0, 0]);
    for (const page of [0x200, 0x234, 0x3ff]) expect(guest.l2Entry(page).spte & W).toBe(0n);
    expect(guest.l2Fault(0x234, PRESENT | WRITE).ret).toBe(RetPf.fixed);
    expect(guest.harvestDirtyLog()).toEqual([512 + 0x34]);
    guest.expectSound();
  });

  it("does not happen if it is switched off", () => {
    const guest = huge({ ...init, options: { eagerPageSplit: false } });
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    expect(guest.leaves()).toEqual([0, 1, 0]);
    expect(guest.l2Entry(0x234).spte & W).toBe(0n);
    guest.expectSound();
  });

  it("splits every mapping of a page, through one table if they have the same access", () => {
    const guest = huge(init);
    guest.mapL2(0x4000, 512, 2);
    guest.l2Fault(0x4000, WRITE);
    expect(guest.leaves()).toEqual([0, 2, 0]);
    const tables = guest.mmu.statistics.read(guest.cpu).mmu_shadow_pages;
    split(guest, 0, 2048);
    expect(guest.leaves()).toEqual([512, 0, 0]);
    expect(guest.mmu.statistics.read(guest.cpu).mmu_shadow_pages).toBe(tables + 1);
    expect(guest.l2Entry(0x4034).sptep).toBe(guest.l2Entry(0x234).sptep);
    guest.expectSound();
  });

  it("goes from 1 GiB to 2 MiB to 4 KiB, and no further than asked", () => {
    const guest = new NestedGuest({ ...init, slotPages: 512 * 512 });
    guest.cpu.writeOnce32(guest.mmu.nMaxMmuPagesWord, 2000);
    guest.host.level = 3;
    guest.mapL2(0x40000, 0, 3);
    guest.l2Fault(0x40234, READ);
    expect(guest.leaves()).toEqual([0, 0, 1]);
    split(guest, 0, 512 * 512, guest.cpu, 2);
    expect(guest.leaves()).toEqual([0, 512, 0]);
    split(guest, 512, 1024);
    expect(guest.leaves()).toEqual([512, 511, 0]);
    guest.expectSound();
  });

  it("stays young if the huge page was, entry by entry", () => {
    const guest = huge(init);
    split(guest, 0, 2048);
    expect(guest.testAge(512 + 0x100, 512 + 0x101)).toBe(true);
    expect(guest.age(512, 1024)).toBe(true);
    expect(guest.age(512, 1024)).toBe(false);
    guest.expectSound();
  });
});

describe("what a split needs", () => {
  it("a quota for the table: without, it is left out", () => {
    const guest = huge({});
    guest.cpu.writeOnce32(
      guest.mmu.nMaxMmuPagesWord,
      guest.mmu.statistics.read(guest.cpu).mmu_shadow_pages + 5,
    );
    const cpu = new RecordingCpu(guest.cpu);
    split(guest, 0, 2048, cpu);
    expect(guest.leaves()).toEqual([0, 1, 0]);
    expect(cpu.events.find(({ name }) => name === SPLIT_EVENT)?.fields.errno).toBe(-28);
    guest.expectSound();
  });

  it("memory: without, it is left out", () => {
    const guest = huge({});
    const frames: number[] = [];
    const cpu = new RecordingCpu(guest.cpu);
    // What is left goes while the lock is dropped.
    cpu.onCondResched = (other) => {
      try {
        for (;;) frames.push(guest.machine.frames.allocateFrame(other));
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
      }
    };
    split(guest, 0, 2048, cpu);
    expect(frames.length).toBeGreaterThan(100);
    expect(guest.leaves()).toEqual([0, 1, 0]);
    expect(cpu.events.find(({ name }) => name === SPLIT_EVENT)?.fields.errno).toBe(-12);
    for (const frame of frames) guest.machine.frames.freeFrame(guest.cpu, frame as never);
    guest.expectSound();
  });

  it("stock from the VM's caches, filled with the lock dropped", () => {
    const guest = huge({});
    const { splitCaches } = guest.mmu;
    expect(splitCaches.needTopUp(guest.cpu)).toBe(true);
    const cpu = new RecordingCpu(guest.cpu, false);
    split(guest, 0, 2048, cpu);
    expect(cpu.log.filter((step) => !step.startsWith("preempt"))).toEqual([
      "mutex_lock kvm->slots_lock",
      "srcu_read_lock kvm->srcu",
      "write_lock kvm->mmu_lock",
      "write_unlock kvm->mmu_lock",
      "cond_resched",
      "write_lock kvm->mmu_lock",
      "write_unlock kvm->mmu_lock",
      "srcu_read_unlock kvm->srcu",
      "mutex_unlock kvm->slots_lock",
    ]);
    expect(splitCaches.needTopUp(guest.cpu)).toBe(false);
    splitCaches.drain(guest.cpu);
    expect(splitCaches.needTopUp(guest.cpu)).toBe(true);
  });

  it("no patience: it ends although somebody always waits, giving way before each split", () => {
    const guest = huge({});
    guest.mapL2(0x400, 1024, 2);
    guest.l2Fault(0x400, WRITE);
    const cpu = new RecordingCpu(guest.cpu, false);
    cpu.needbreak = () => true;
    split(guest, 0, 2048, cpu);
    expect(guest.leaves()).toEqual([1024, 0, 0]);
    expect(cpu.log.filter((step) => step === "cond_resched").length).toBeGreaterThan(3);
    guest.expectSound();
  });

  it("the TDP MMU: without it faults do that work", () => {
    const guest = new LeafGuest();
    guest.host.level = 2;
    guest.touch(512, true);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    expect(guest.leaves()).toEqual([0, 1, 0]);
    guest.expectSound();
  });

  it("finds the page gone after the lock was dropped, and goes on", () => {
    const guest = huge({});
    const cpu = new RecordingCpu(guest.cpu, false);
    const other = guest.attach();
    cpu.onCondResched = () => void guest.unmap(0, 2048, false, other);
    split(guest, 0, 2048, cpu);
    expect(guest.leaves()).toEqual([0, 0, 0]);
    guest.expectSound();
  });
});

describe.each(EVERY_FORMAT)("recovering L2's huge pages, %s", (_name, init) => {
  it("zaps the small pages of a direct table when logging ends; a fault maps the huge page again", () => {
    const guest = huge(init);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    guest.l2Fault(0x234, PRESENT | WRITE);
    expect(guest.leaves()).toEqual([512, 0, 0]);
    guest.setSlot(0);
    expect(guest.leaves()).toEqual([0, 0, 0]);
    expect(guest.l2Fault(0x234, WRITE).ret).toBe(RetPf.fixed);
    expect(guest.leaves()).toEqual([0, 1, 0]);
    guest.expectSound();
  });

  it("leaves alone what L1 itself maps small, and what the host maps small", () => {
    const guest = new NestedGuest(init);
    guest.host.level = 2;
    guest.mapL2(7, 600);
    guest.l2Fault(7, WRITE);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    guest.setSlot(0);
    expect(guest.leaves()).toEqual([1, 0, 0]);

    const hostSmall = huge(init);
    hostSmall.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    hostSmall.host.level = 1;
    hostSmall.setSlot(0);
    expect(hostSmall.leaves()).toEqual([512, 0, 0]);
    hostSmall.expectSound();
  });
});

describe("recovering in a linear context", () => {
  it("zaps small leaves, flushes once, and restarts the list after each", () => {
    const guest = new LeafGuest();
    for (const page of [512, 513, 700]) guest.touch(page, true);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    guest.host.level = 2;
    guest.setSlot(0);
    expect(guest.leaves()).toEqual([0, 0, 0]);
    guest.touch(700, true);
    expect(guest.leaves()).toEqual([0, 1, 0]);
    expect(pteListCount(guest.cpu, gfnToRmap(guest.cpu, guest.slot, guest.gfn(700), PG_LEVEL_2M))).toBe(1);
    expect(guest.cpu.readOnce(gfnToRmap(guest.cpu, guest.slot, guest.gfn(700), PG_LEVEL_4K))).toBe(0n);
    guest.expectSound();
  });

  it("looks up the host's level in a slot that begins in the middle of a huge frame", () => {
    const guest = new LeafGuest({ slotGfn: 0x40100, slotPages: 1024 });
    for (const page of [0, 0x100, 0x200]) guest.touch(page, true);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    guest.host.level = 2;
    guest.setSlot(0);
    // Only the middle frame lies in the slot as a whole.
    expect(guest.leaves()).toEqual([1, 0, 0]);
    guest.expectSound();
  });
});
