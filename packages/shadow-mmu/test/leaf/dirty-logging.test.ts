import { KVM_MEM_LOG_DIRTY_PAGES } from "@kvm-age/memslot";
import { RetPf } from "@kvm-age/page-fault";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmMmuClearDirtyPtMasked, kvmMmuWriteProtectPtMasked } from "../../src/dirty/dirty-log-pt-masked.js";
import {
  kvmMmuSlotLeafClearDirty,
  kvmMmuSlotRemoveWriteAccess,
  kvmShadowMmuEnableLogDirtyPtMasked,
} from "../../src/dirty/slot-dirty-logging.js";
import { LeafGuest, PRESENT, READ, WRITE } from "./kit/leaf-guest.js";
import { NestedGuest } from "./kit/nested-guest.js";
import { EVERY_FORMAT, ofPage, type ReferenceFormat } from "./kit/reference-values.js";

const W = 2n;
const PAGES = [0, 1, 63, 64, 600];

function populated(reference: ReferenceFormat, cpuDirtyLog = false): LeafGuest {
  const guest = new LeafGuest({ ...reference.init, options: { cpuDirtyLog } });
  for (const page of PAGES) guest.touch(page, true);
  return guest;
}

/** What arms the log for an entry that D cannot log. */
function armedBit(reference: ReferenceFormat, cpuDirtyLog: boolean): bigint {
  return cpuDirtyLog && reference.adBits ? reference.dirtyBit : W;
}

const STYLES = EVERY_FORMAT.flatMap((reference) => [
  { reference, cpuDirtyLog: false, style: "W" },
  { reference, cpuDirtyLog: true, style: "D (PML)" },
]);

describe.each(STYLES)("logging by $style, $reference.name", ({ reference, cpuDirtyLog }) => {
  const armed = armedBit(reference, cpuDirtyLog);
  const demand = (page: number): bigint => ofPage(reference.demand, page);

  it("arms every small page when it is switched on, without a flush of its own", () => {
    const guest = populated(reference, cpuDirtyLog);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    for (const page of PAGES) expect(guest.spte(page)).toBe(demand(page) & ~armed);
    guest.expectSound();
  });

  it("takes W from huge pages, in either style", () => {
    const guest = new LeafGuest({ ...reference.init, options: { cpuDirtyLog } });
    guest.host.level = 2;
    guest.touch(700, true);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    expect(guest.spte(700)).toBe(ofPage(reference.huge, 512) & ~W);
    guest.expectSound();
  });

  it("arms the pages of the mask again, and no others", () => {
    const guest = populated(reference, cpuDirtyLog);
    guest.underWriteLock(() =>
      kvmShadowMmuEnableLogDirtyPtMasked(
        guest.mmu,
        guest.cpu,
        guest.slot,
        0,
        (1n << 1n) | (1n << 63n),
        false,
      ),
    );
    const armedPages = PAGES.filter((page) => guest.spte(page) === (demand(page) & ~armed));
    expect(armedPages).toEqual([1, 63]);
    guest.underWriteLock(() =>
      kvmShadowMmuEnableLogDirtyPtMasked(guest.mmu, guest.cpu, guest.slot, 64, 1n, false),
    );
    expect(guest.spte(64)).toBe(demand(64) & ~armed);
    guest.expectSound();
  });
});

describe.each(STYLES.filter(({ reference, cpuDirtyLog }) => armedBit(reference, cpuDirtyLog) === W))(
  "logging that is armed by W, $reference.name, style $style",
  ({ reference, cpuDirtyLog }) => {
    it("harvests each write once, and arms the page again", () => {
      const guest = populated(reference, cpuDirtyLog);
      guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
      guest.harvestDirtyLog();
      expect(guest.faultWithCode(63, PRESENT | WRITE).ret).toBe(RetPf.fixed);
      expect(guest.harvestDirtyLog()).toEqual([63]);
      expect(guest.spte(63)).toBe(ofPage(reference.logged, 63));
      expect(guest.harvestDirtyLog()).toEqual([]);
      guest.expectSound();
    });
  },
);

describe.each(EVERY_FORMAT)("the parts, $name", (reference) => {
  it("write protection of a mask keeps MMU-writable and goes through the volatile rule", () => {
    const guest = populated(reference);
    const cpu = new RecordingCpu(guest.cpu);
    guest.underWriteLock(() => kvmMmuWriteProtectPtMasked(guest.mmu, cpu, guest.slot, 0, 3n), cpu);
    expect(guest.spte(0)).toBe(ofPage(reference.logged, 0));
    expect(guest.spte(1)).toBe(ofPage(reference.logged, 1));
    expect(guest.spte(63)).toBe(ofPage(reference.demand, 63));
    expect(cpu.writesTo(guest.sptep(0))).toEqual([reference.adBits ? "writeOnce" : "xchg"]);
    expect(cpu.flushes()).toEqual([]);
  });

  it("clearing dirty takes D where hardware sets it, else W by one AND", () => {
    const guest = populated(reference);
    const cpu = new RecordingCpu(guest.cpu);
    guest.underWriteLock(() => kvmMmuClearDirtyPtMasked(guest.mmu, cpu, guest.slot, 0, 3n), cpu);
    const bit = reference.adBits ? reference.dirtyBit : W;
    expect(guest.spte(0)).toBe(ofPage(reference.demand, 0) & ~bit);
    expect(cpu.writesTo(guest.sptep(0))).toEqual([reference.adBits ? "writeOnce" : "fetchAnd"]);
  });

  it("the slot walks take the lock themselves and may give way", () => {
    const guest = populated(reference);
    const cpu = new RecordingCpu(guest.cpu, false);
    cpu.needbreak = () => true;
    guest.underSlotsLock(() => kvmMmuSlotRemoveWriteAccess(guest.mmu, cpu, guest.slot, 1), cpu);
    for (const page of PAGES) expect(guest.spte(page) & W).toBe(0n);
    expect(cpu.log.filter((step) => step === "cond_resched").length).toBeGreaterThan(4);
    expect(cpu.flushes()).toEqual([]);
    guest.expectSound();
  });

  it("clearing the whole slot touches small pages only", () => {
    const guest = populated(reference);
    guest.host.level = 2;
    guest.touch(1500, true);
    guest.underSlotsLock(() => kvmMmuSlotLeafClearDirty(guest.mmu, guest.cpu, guest.slot));
    const bit = reference.adBits ? reference.dirtyBit : W;
    for (const page of PAGES) expect(guest.spte(page) & bit).toBe(0n);
    expect(guest.spte(1500)).toBe(ofPage(reference.huge, 1024));
    guest.expectSound();
  });

  it("a write that comes while the list is walked is not lost", () => {
    const guest = populated(reference);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    guest.harvestDirtyLog();
    // Armed again by W; a vCPU is about to fault W back while the harvester arms once more.
    const sptep = guest.sptep(1);
    const vcpu = guest.attach();
    const act = (): void => void guest.faultWithCode(1, PRESENT | WRITE, vcpu);
    const cpu = new InterferingCpu(guest.cpu, [{ step: "readOnce", address: sptep, act, nth: 2 }]);
    guest.underWriteLock(() => kvmMmuWriteProtectPtMasked(guest.mmu, cpu, guest.slot, 0, 2n), cpu);
    expect(cpu.happened).toBe(1);
    expect(guest.dirtyBit(1)).toBe(true);
    expect(guest.spte(1) & W).toBe(0n);
    expect(guest.harvestDirtyLog()).toEqual([1]);
    guest.expectSound();
  });
});

describe("a bitmap that starts all set", () => {
  it("arms nothing when logging begins; the harvest takes W from the huge pages of its mask", () => {
    const guest = new LeafGuest({ dirtyLogInitiallySet: true, options: { eagerPageSplit: false } });
    guest.host.level = 2;
    for (const page of [0, 512, 1024]) guest.touch(page, true);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    for (const page of [0, 512, 1024]) expect(guest.spte(page) & W).toBe(W);
    // Pages 500 … 563: across the end of the first huge page.
    guest.underWriteLock(() => {
      kvmShadowMmuEnableLogDirtyPtMasked(guest.mmu, guest.cpu, guest.slot, 500, 2n ** 64n - 1n, true);
    });
    expect([0, 512, 1024].map((page) => guest.spte(page) & W)).toEqual([0n, 0n, W]);
    guest.expectSound();
  });
});

describe("an entry whose D does not log", () => {
  it("is armed by W even with PML: L2's pages belong to L1's log", () => {
    const guest = new NestedGuest({ options: { cpuDirtyLog: true } });
    guest.mapL2(7, 3);
    guest.l2Fault(7, WRITE);
    expect(guest.l2Entry(7).spte & W).toBe(W);
    guest.underWriteLock(() => kvmMmuClearDirtyPtMasked(guest.mmu, guest.cpu, guest.slot, 0, 1n << 3n));
    expect(guest.l2Entry(7).spte & (W | 0x200n)).toBe(0x200n);
    guest.l2Fault(7, READ);
    guest.expectSound();
  });
});
