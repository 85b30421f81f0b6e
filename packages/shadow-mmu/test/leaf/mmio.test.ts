import { offset } from "@kvm-age/machine";
import { NULL_SLOT, setGeneration } from "@kvm-age/memslot";
import { PFERR_RSVD_MASK, RetPf } from "@kvm-age/page-fault";
import { type Gfn, isMmioSpte, KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import {
  mmioInfoInCache,
  vcpuCacheMmioInfo,
  vcpuClearMmioInfo,
  vcpuMatchMmioGfn,
  vcpuMatchMmioGva,
} from "../../src/fault/mmio-cache.js";
import { mmuSetSpte } from "../../src/fault/mmu-set-spte.js";
import { LeafGuest, PRESENT, SLOT_GFN, WRITE } from "./kit/leaf-guest.js";
import { EVERY_FORMAT } from "./kit/reference-values.js";

/** A page behind the slot. */
const OUTSIDE = 2048;
const RSVD = PRESENT | PFERR_RSVD_MASK;

function clearCache(guest: LeafGuest): void {
  guest.cpu.writeOnce(guest.vcpu.mmioGenerationWord, 2n ** 64n - 1n);
}

/** Another slot comes or goes: the generation moves. */
function changeSlots(guest: LeafGuest): void {
  guest.setPages(7, 0x10000, 16, 0);
}

describe.each(EVERY_FORMAT)("an access outside every slot, $name", (reference) => {
  it("is emulated, cached in the entry and in the vCPU", () => {
    const guest = new LeafGuest(reference.init);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(OUTSIDE, WRITE, cpu).ret).toBe(RetPf.emulate);
    expect(isMmioSpte(guest.format, guest.spte(OUTSIDE))).toBe(true);
    expect(guest.leaves()).toEqual([0, 0, 0]);
    expect(guest.mmu.statistics.read(guest.cpu).pf_mmio_spte_created).toBe(1);
    const gfn = (SLOT_GFN + OUTSIDE) as Gfn;
    const sptep = BigInt(guest.sptep(OUTSIDE));
    // Two-dimensional EPT has no permission in it; else P, and W and U of everything that is allowed. One slot was made.
    const access = reference.init.mode === "ept" ? 6 : 7;
    expect(cpu.events.at(-1)).toEqual({ name: "mark_mmio_spte", fields: { sptep, gfn, access, gen: 2 } });
    expect(vcpuMatchMmioGfn(guest.mmu, guest.cpu, guest.vcpu, gfn)).toBe(true);
    expect(guest.age(0, 2048)).toBe(false);
    guest.expectSound();
  });

  it("is answered from the vCPU's cache without a walk, and from the entry by a lockless one", () => {
    const guest = new LeafGuest(reference.init);
    guest.faultWithCode(OUTSIDE, WRITE);
    const cached = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(OUTSIDE, RSVD, cached).ret).toBe(RetPf.emulate);
    expect(cached.log).toEqual(["srcu_read_lock kvm->srcu", "srcu_read_unlock kvm->srcu"]);
    clearCache(guest);
    const walked = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(OUTSIDE, RSVD, walked).ret).toBe(RetPf.emulate);
    expect(walked.log).toEqual([
      "srcu_read_lock kvm->srcu",
      "preempt_disable",
      "smp_mb",
      "preempt_enable",
      "check_mmio_spte",
      "handle_mmio_page_fault",
      "srcu_read_unlock kvm->srcu",
    ]);
    const gfn = (SLOT_GFN + OUTSIDE) as Gfn;
    expect(vcpuMatchMmioGfn(guest.mmu, guest.cpu, guest.vcpu, gfn)).toBe(true);
    guest.expectSound();
  });

  it("is looked up anew after the slots have changed, and the entry rewritten", () => {
    const guest = new LeafGuest(reference.init);
    guest.faultWithCode(OUTSIDE, WRITE);
    const before = guest.spte(OUTSIDE);
    changeSlots(guest);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(OUTSIDE, RSVD, cpu).ret).toBe(RetPf.emulate);
    expect(cpu.log).toContain("write_lock kvm->mmu_lock");
    expect(isMmioSpte(guest.format, guest.spte(OUTSIDE))).toBe(true);
    expect(guest.spte(OUTSIDE)).not.toBe(before);
    guest.expectSound();
  });

  it("becomes an ordinary mapping when a slot appears there", () => {
    const guest = new LeafGuest(reference.init);
    guest.faultWithCode(OUTSIDE, WRITE);
    guest.setPages(7, SLOT_GFN + OUTSIDE, 16, 0);
    expect(guest.faultWithCode(OUTSIDE, RSVD).ret).toBe(RetPf.fixed);
    expect(guest.leaves()).toEqual([1, 0, 0]);
    guest.expectSound();
  });

  it("is tried again if the entry is gone", () => {
    const guest = new LeafGuest(reference.init);
    guest.faultWithCode(OUTSIDE, WRITE);
    clearCache(guest);
    guest.cpu.writeOnce(guest.sptep(OUTSIDE), 1n << 63n);
    expect(guest.faultWithCode(OUTSIDE, RSVD).ret).toBe(RetPf.retry);
  });

  it("without MMIO caching is emulated each time, without an entry", () => {
    const guest = new LeafGuest({ ...reference.init, mmioCaching: false });
    expect(guest.faultWithCode(OUTSIDE, WRITE).ret).toBe(RetPf.emulate);
    expect(guest.mmu.statistics.read(guest.cpu).pf_mmio_spte_created).toBe(0);
  });

  it("over a leaf, which a late fault may find: the leaf comes off its rmap and is flushed", () => {
    const guest = new LeafGuest(reference.init);
    guest.touch(3, true);
    const sptep = guest.sptep(3);
    const cpu = new RecordingCpu(guest.cpu);
    guest.inSrcu(
      () =>
        guest.underWriteLock(
          () => mmuSetSpte(guest.mmu, cpu, guest.vcpu, NULL_SLOT, sptep, 0, guest.gfn(3), 0 as never, null),
          cpu,
        ),
      cpu,
    );
    expect(isMmioSpte(guest.format, guest.spte(3))).toBe(true);
    expect(guest.leaves()).toEqual([0, 0, 0]);
    expect(cpu.flushes()).toEqual([`flush 0x${(SLOT_GFN + 3).toString(16)}+1`]);
    guest.expectSound();
  });
});

describe("reserved bits", () => {
  it("in a present entry on the path are an error, never an emulation", () => {
    const guest = new LeafGuest({ mode: "npt" });
    guest.faultWithCode(OUTSIDE, WRITE);
    clearCache(guest);
    const leaf = guest.sptep(OUTSIDE);
    // MAXPHYADDR is 48.
    guest.cpu.writeOnce(leaf, (1n << 50n) | 0x867n);
    const { ret, errno } = guest.faultWithCode(OUTSIDE, RSVD);
    expect([ret, errno]).toEqual([RetPf.error, "EINVAL"]);
    guest.cpu.writeOnce(leaf, 1n << 63n);
    guest.expectSound();
  });
});

describe("the vCPU's cache of one MMIO access", () => {
  const GVA = 0x1234567;

  it("matches the page of a linear address or a frame, and neither address 0 nor frame 0", () => {
    const { mmu, cpu, vcpu } = new LeafGuest({ mode: "shadow" });
    vcpuCacheMmioInfo(mmu, cpu, vcpu, GVA, 0xfee00 as Gfn, 6);
    expect(vcpuMatchMmioGva(mmu, cpu, vcpu, 0x1234000)).toBe(true);
    expect(vcpuMatchMmioGva(mmu, cpu, vcpu, 0x1235000)).toBe(false);
    expect(vcpuMatchMmioGfn(mmu, cpu, vcpu, 0xfee00 as Gfn)).toBe(true);
    expect(vcpuMatchMmioGfn(mmu, cpu, vcpu, 0xfee01 as Gfn)).toBe(false);
    expect(cpu.readOnce32(vcpu.mmioAccessWord)).toBe(6);
    expect(mmioInfoInCache(mmu, cpu, vcpu, GVA, false)).toBe(true);
    expect(mmioInfoInCache(mmu, cpu, vcpu, 0xfee00123, true)).toBe(true);
    vcpuCacheMmioInfo(mmu, cpu, vcpu, 0, 0 as Gfn, 6);
    expect(vcpuMatchMmioGva(mmu, cpu, vcpu, 0)).toBe(false);
    expect(vcpuMatchMmioGfn(mmu, cpu, vcpu, 0 as Gfn)).toBe(false);
  });

  it("forgets one address, or any", () => {
    const { mmu, cpu, vcpu } = new LeafGuest({ mode: "shadow" });
    vcpuCacheMmioInfo(mmu, cpu, vcpu, GVA, 0xfee00 as Gfn, 6);
    vcpuClearMmioInfo(cpu, vcpu, 0x7654000);
    expect(vcpuMatchMmioGva(mmu, cpu, vcpu, GVA)).toBe(true);
    vcpuClearMmioInfo(cpu, vcpu, GVA);
    expect(vcpuMatchMmioGva(mmu, cpu, vcpu, GVA)).toBe(false);
    vcpuCacheMmioInfo(mmu, cpu, vcpu, GVA, 0xfee00 as Gfn, 6);
    vcpuClearMmioInfo(cpu, vcpu, null);
    expect(vcpuMatchMmioGva(mmu, cpu, vcpu, GVA)).toBe(false);
  });

  it("is of one memslot generation, and is not filled while slots change", () => {
    const guest = new LeafGuest();
    const { mmu, cpu, vcpu, memslots } = guest;
    vcpuCacheMmioInfo(mmu, cpu, vcpu, GVA, 0xfee00 as Gfn, 6);
    changeSlots(guest);
    expect(vcpuMatchMmioGfn(mmu, cpu, vcpu, 0xfee00 as Gfn)).toBe(false);
    const generationWord = findGenerationWord(guest);
    const generation = cpu.readOnce(generationWord);
    cpu.writeOnce(generationWord, generation | KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS);
    vcpuCacheMmioInfo(mmu, cpu, vcpu, GVA, 0xfee00 as Gfn, 6);
    cpu.writeOnce(generationWord, generation);
    expect(vcpuMatchMmioGfn(mmu, cpu, vcpu, 0xfee00 as Gfn)).toBe(false);
    expect(setGeneration(cpu, memslots.kvmMemslots(cpu, 0))).toBe(generation);
  });
});

/** Where the active set keeps its generation. */
function findGenerationWord({ cpu, memslots }: LeafGuest) {
  const set = memslots.kvmMemslots(cpu, 0);
  for (let at = 0; at < 64; at += 8) {
    const word = offset(set, at);
    const before = cpu.readOnce(word);
    cpu.writeOnce(word, before ^ (1n << 40n));
    const found = setGeneration(cpu, set) === (before ^ (1n << 40n));
    cpu.writeOnce(word, before);
    if (found) return word;
  }
  throw new Error("the generation is not among the first words of the set");
}
