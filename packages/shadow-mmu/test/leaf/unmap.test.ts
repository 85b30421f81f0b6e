import { LockAssertionError } from "@kvm-age/machine";
import { RetPf } from "@kvm-age/page-fault";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmShadowUnmapGfnRange } from "../../src/zap/kvm-shadow-unmap-gfn-range.js";
import { LeafGuest, WRITE } from "./kit/leaf-guest.js";
import { EVERY_FORMAT } from "./kit/reference-values.js";

function populated(init = {}): LeafGuest {
  const guest = new LeafGuest(init);
  for (const page of [0, 1, 2, 511, 512, 600]) guest.touch(page, true);
  guest.host.level = 2;
  guest.touch(1500, true);
  guest.host.level = 1;
  expect(guest.leaves()).toEqual([6, 1, 0]);
  return guest;
}

describe.each(EVERY_FORMAT)("unmapping a range, $name", (reference) => {
  it("zaps exactly its pages, and says that a flush is due", () => {
    const guest = populated(reference.init);
    expect(guest.unmap(1, 512)).toBe(true);
    expect(guest.leaves()).toEqual([3, 1, 0]);
    for (const page of [1, 2, 511]) expect(guest.spte(page)).toBe(1n << 63n);
    for (const page of [0, 512, 600]) expect(guest.spte(page)).not.toBe(1n << 63n);
    guest.expectSound();
  });

  it("zaps a huge page that it only touches", () => {
    const guest = populated(reference.init);
    expect(guest.unmap(1026, 1030)).toBe(true);
    expect(guest.leaves()).toEqual([6, 0, 0]);
    guest.expectSound();
  });

  it("needs no flush where nothing was mapped, or only MMIO was cached", () => {
    const guest = populated(reference.init);
    expect(guest.unmap(3, 511)).toBe(false);
    guest.expectSound();
  });

  it("keeps a flush that was due already", () => {
    const guest = populated(reference.init);
    const { cpu, mmu } = guest;
    const flush = guest.underSlotsLock(
      () => guest.underWriteLock(() => kvmShadowUnmapGfnRange(mmu, cpu, guest.range(3, 4), true), cpu),
      cpu,
    );
    expect(flush).toBe(true);
  });
});

describe("giving way", () => {
  const contended = (guest: LeafGuest): RecordingCpu => {
    const cpu = new RecordingCpu(guest.cpu, false);
    cpu.needbreak = () => true;
    return cpu;
  };

  it("does so after every list if the range may block, with everything flushed that was zapped", () => {
    const guest = populated();
    const cpu = contended(guest);
    expect(guest.unmap(0, 2048, true, cpu)).toBe(false);
    expect(guest.leaves()).toEqual([0, 0, 0]);
    const steps = cpu.log.filter((step) => !step.startsWith("preempt"));
    const yields = steps.filter((step) => step === "cond_resched").length;
    expect(yields).toBeGreaterThan(7);
    for (const [index, step] of steps.entries()) {
      if (step !== "cond_resched") continue;
      expect([steps[index - 1], steps[index + 1]]).toEqual([
        "write_unlock kvm->mmu_lock",
        "write_lock kvm->mmu_lock",
      ]);
    }
    // One flush for each list that held something, over the whole range.
    expect(cpu.flushes()).toEqual(Array.from({ length: 7 }, () => "flush 0x40000+2048"));
    guest.expectSound();
  });

  it("never does if it may not block", () => {
    const guest = populated();
    const cpu = contended(guest);
    expect(guest.unmap(0, 2048, false, cpu)).toBe(true);
    expect(cpu.log).not.toContain("cond_resched");
    expect(guest.leaves()).toEqual([0, 0, 0]);
    guest.expectSound();
  });

  it("flushes what an earlier level left due when it gives way in a later one", () => {
    const guest = populated();
    let checks = 0;
    const cpu = new RecordingCpu(guest.cpu, false);
    // Nobody waits while the lists of small pages are walked; somebody does from the first list of 2 MiB pages on.
    cpu.needbreak = () => ++checks > 6;
    guest.unmap(0, 2048, true, cpu);
    expect(cpu.flushes()[0]).toBe("flush 0x40000+2048");
    expect(cpu.log.indexOf("cond_resched")).toBeGreaterThan(cpu.log.indexOf("flush 0x40000+2048"));
    guest.expectSound();
  });

  it("finds the lists as others left them", () => {
    const guest = populated();
    const cpu = contended(guest);
    const other = guest.attach();
    let calls = 0;
    cpu.onCondResched = () => {
      if (++calls !== 2) return;
      guest.zapAll(other);
      expect(guest.faultWithCode(600, WRITE, other).ret).toBe(RetPf.retry);
    };
    guest.unmap(0, 2048, true, cpu);
    expect(calls).toBeGreaterThan(2);
    expect(guest.leaves()).toEqual([0, 0, 0]);
    guest.expectSound();
  });
});

describe("locks", () => {
  it("needs mmu_lock for write, and an invalidation in progress or slots_lock", () => {
    const guest = populated();
    const { cpu, mmu } = guest;
    const unmap = (): boolean => kvmShadowUnmapGfnRange(mmu, cpu, guest.range(0, 4), false);
    expect(unmap).toThrow(LockAssertionError);
    cpu.writeLock(mmu.mmuLock);
    expect(unmap).toThrow(LockAssertionError);
    cpu.writeUnlock(mmu.mmuLock);
    expect(guest.leaves()).toEqual([6, 1, 0]);
    guest.invalidateStart(0, 4);
    expect(guest.leaves()).toEqual([3, 1, 0]);
    guest.invalidateEnd();
  });
});
