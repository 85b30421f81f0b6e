import { memberModeWord, OUTSIDE_GUEST_MODE, READING_SHADOW_PAGE_TABLES } from "@kvm-age/machine";
import { KVM_MEM_LOG_DIRTY_PAGES } from "@kvm-age/memslot";
import { RetPf } from "@kvm-age/page-fault";
import { PFERR_FETCH_MASK, PG_LEVEL_4K } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { gfnToRmap } from "../../src/leaf-rmap/gfn-to-rmap.js";
import { kvmZapRmap } from "../../src/zap/kvm-shadow-unmap-gfn-range.js";
import { LeafGuest, PRESENT, READ, WRITE } from "./kit/leaf-guest.js";
import { EVERY_FORMAT, ofPage, type ReferenceFormat } from "./kit/reference-values.js";

const PAGE = 3;

/** A page whose W was taken for the log, as if its bit had just been harvested. */
function logged(reference: ReferenceFormat): LeafGuest {
  const guest = new LeafGuest(reference.init);
  guest.touch(PAGE, true);
  guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
  guest.harvestDirtyLog();
  expect(guest.spte(PAGE)).toBe(ofPage(reference.logged, PAGE));
  expect(guest.dirtyBit(PAGE)).toBe(false);
  return guest;
}

function pfFast(guest: LeafGuest): number {
  return guest.mmu.statistics.read(guest.cpu).pf_fast;
}

describe.each(EVERY_FORMAT)("fast page fault, $name", (reference) => {
  it("gives W back, logs the page, and takes no lock", () => {
    const guest = logged(reference);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(PAGE, PRESENT | WRITE, cpu).ret).toBe(RetPf.fixed);
    expect(guest.spte(PAGE)).toBe(ofPage(reference.demand, PAGE));
    expect(guest.dirtyBit(PAGE)).toBe(true);
    expect(cpu.log).toEqual([
      "srcu_read_lock kvm->srcu",
      "preempt_disable",
      "smp_mb",
      "fast_page_fault",
      "preempt_enable",
      "srcu_read_unlock kvm->srcu",
    ]);
    expect(cpu.writesTo(guest.sptep(PAGE))).toEqual(["cmpxchg"]);
    expect(pfFast(guest)).toBe(1);
    guest.expectSound();
  });

  it("is spurious for a write that is allowed already", () => {
    const guest = logged(reference);
    guest.faultWithCode(PAGE, PRESENT | WRITE);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(PAGE, PRESENT | WRITE, cpu).ret).toBe(RetPf.spurious);
    expect(cpu.log).not.toContain("write_lock kvm->mmu_lock");
  });

  it("does not give W to what must stay write-protected", () => {
    const guest = new LeafGuest(reference.init);
    guest.host.writable = false;
    guest.touch(PAGE, false);
    expect(guest.spte(PAGE)).toBe(ofPage(reference.hostReadOnly, PAGE));
    const cpu = new RecordingCpu(guest.cpu);
    guest.faultWithCode(PAGE, PRESENT | WRITE, cpu);
    expect(cpu.log).toContain("write_lock kvm->mmu_lock");
    expect(pfFast(guest)).toBe(0);
  });

  it("does not give W to a huge page of a logged slot, which is to be split", () => {
    const guest = new LeafGuest(reference.init);
    guest.host.level = 2;
    guest.touch(PAGE, true);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    guest.harvestDirtyLog();
    expect(guest.leaves()).toEqual([0, 1, 0]);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(PAGE, PRESENT | WRITE, cpu).ret).toBe(RetPf.fixed);
    expect(cpu.log).toContain("write_lock kvm->mmu_lock");
    expect(guest.leaves()).toEqual([1, 0, 0]);
    expect(guest.dirtyBit(PAGE)).toBe(true);
    guest.expectSound();
  });

  it("tries again when it loses the exchange, and finds what the winner left", () => {
    const guest = logged(reference);
    const sptep = guest.sptep(PAGE);
    const act = (): void => guest.cpu.writeOnce(sptep, ofPage(reference.demand, PAGE));
    const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address: sptep, act }]);
    expect(guest.faultWithCode(PAGE, PRESENT | WRITE, cpu).ret).toBe(RetPf.spurious);
    expect(cpu.happened).toBe(1);
    expect(pfFast(guest)).toBe(1);
  });

  it("gives up to the slow path after five lost exchanges", () => {
    const guest = logged(reference);
    const sptep = guest.sptep(PAGE);
    const dirty = ofPage(reference.logged, PAGE);
    const lose = Array.from({ length: 5 }, (_, index) => ({
      step: "cmpxchg" as const,
      address: sptep,
      nth: index + 1,
      act: (): void => guest.cpu.writeOnce(sptep, dirty ^ (index % 2 === 0 ? reference.dirtyBit : 0n)),
    }));
    const interfering = new InterferingCpu(guest.cpu, lose);
    const cpu = new RecordingCpu(interfering);
    expect(guest.faultWithCode(PAGE, PRESENT | WRITE, cpu).ret).toBe(RetPf.fixed);
    expect(interfering.happened).toBe(5);
    expect(cpu.log).toContain("write_lock kvm->mmu_lock");
    expect(pfFast(guest)).toBe(0);
    guest.expectSound();
  });

  it("does not restore an entry that was zapped under it", () => {
    const guest = logged(reference);
    const sptep = guest.sptep(PAGE);
    guest.host.onLookup = () => expect(guest.cpu.readOnce(sptep)).toBe(1n << 63n);
    const zapper = guest.attach();
    // Without its flush, which would wait for the walk to end.
    const act = (): void => {
      const head = gfnToRmap(zapper, guest.slot, guest.gfn(PAGE), PG_LEVEL_4K);
      guest.underWriteLock(() => kvmZapRmap(guest.mmu, zapper, head), zapper);
    };
    const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address: sptep, act }]);
    expect(guest.faultWithCode(PAGE, PRESENT | WRITE, cpu).ret).toBe(RetPf.fixed);
    expect(cpu.happened).toBe(1);
    expect(guest.host.released.dirty).toBe(2);
    guest.expectSound();
  });

  it("announces the walk with preemption off, and ends it on every way out", () => {
    const guest = logged(reference);
    const modeWord = memberModeWord(guest.flushDomain, guest.vcpu.id);
    const modes: number[] = [];
    const act = (): void => void modes.push(guest.cpu.readOnce32(modeWord));
    const cpu = new InterferingCpu(guest.cpu, [
      { step: "cmpxchg", address: guest.sptep(PAGE), act },
      { step: "preemptEnable", act },
    ]);
    guest.faultWithCode(PAGE, PRESENT | WRITE, cpu);
    expect(modes).toEqual([READING_SHADOW_PAGE_TABLES, OUTSIDE_GUEST_MODE]);
    guest.faultWithCode(PAGE, PRESENT | WRITE);
    expect(guest.cpu.readOnce32(modeWord)).toBe(OUTSIDE_GUEST_MODE);
    guest.expectSound();
  });
});

describe.each(EVERY_FORMAT.filter(({ adBits }) => !adBits))("access tracking, $name", (reference) => {
  const tracked = (): LeafGuest => {
    const guest = new LeafGuest(reference.init);
    guest.touch(PAGE, true);
    guest.age(PAGE, PAGE + 1);
    expect(guest.spte(PAGE)).toBe(ofPage(reference.aged, PAGE));
    return guest;
  };

  it("a read restores the page without W, and it is young again", () => {
    const guest = tracked();
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(PAGE, READ, cpu).ret).toBe(RetPf.fixed);
    expect(guest.spte(PAGE)).toBe(ofPage(reference.restoredByRead!, PAGE));
    expect(cpu.log).not.toContain("write_lock kvm->mmu_lock");
    expect(guest.age(PAGE, PAGE + 1)).toBe(true);
    guest.expectSound();
  });

  it("a write restores it with W, a fetch without", () => {
    const guest = tracked();
    guest.faultWithCode(PAGE, WRITE);
    expect(guest.spte(PAGE)).toBe(ofPage(reference.demand, PAGE));
    guest.age(PAGE, PAGE + 1);
    guest.faultWithCode(PAGE, PFERR_FETCH_MASK);
    expect(guest.spte(PAGE)).toBe(ofPage(reference.restoredByRead!, PAGE));
  });

  it("a second age pass on the same entry finds it old, and tracks it no deeper", () => {
    const guest = tracked();
    expect(guest.age(PAGE, PAGE + 1)).toBe(false);
    expect(guest.spte(PAGE)).toBe(ofPage(reference.aged, PAGE));
  });

  it("an ager that comes between a fault's look and its exchange loses nothing: the fault tries again", () => {
    const guest = tracked();
    const sptep = guest.sptep(PAGE);
    const other = guest.attach();
    const act = (): void => {
      guest.faultWithCode(PAGE, READ, other);
      expect(guest.age(PAGE, PAGE + 1, other)).toBe(true);
    };
    const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address: sptep, act }]);
    expect(guest.faultWithCode(PAGE, READ, cpu).ret).toBe(RetPf.fixed);
    expect(cpu.happened).toBe(1);
    expect(guest.spte(PAGE)).toBe(ofPage(reference.restoredByRead!, PAGE));
    guest.expectSound();
  });
});
