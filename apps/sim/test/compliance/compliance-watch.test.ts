import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { RMAP_HEAD_BYTES, slotRmapArray } from "@kvm-age/memslot";
import {
  KVM_RMAP_LOCKED,
  type KvmRmapHead,
  kvmRmapGet,
  kvmRmapLock,
  kvmRmapLockReadonly,
  kvmRmapUnlock,
  kvmRmapUnlockReadonly,
} from "@kvm-age/rmap";
import { markSpteForAccessTrack, PG_LEVEL_4K, type Spte } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import type { InvariantId } from "../../src/compliance/invariant.js";
import { ComplianceViolationError } from "../../src/compliance/watch/compliance-violation-error.js";
import type { Vm } from "../../src/vm/vm.js";
import type { VmConfig } from "../../src/vm/vm-config.js";
import { checkedVm, PAGES, touchPages } from "./kit/checked-vm.js";
import { firstLeaf, rootOf } from "./kit/first-leaf.js";

const W = 2n;

/** A VM with one page mapped, and the leaf that maps it. */
function watched(change: Partial<VmConfig> = {}) {
  const { vm, cpu, raw } = checkedVm(change);
  touchPages(vm, cpu, 0, 1);
  const sptep = firstLeaf(raw, vm, rootOf(raw, vm));
  return { vm, cpu, raw, sptep, spte: raw.readOnce(sptep) as Spte, format: (vm.tdp ?? vm.shadow)!.format };
}

/** Which invariant a write breaks. */
function refusalOf(write: () => unknown): InvariantId | null {
  try {
    write();
  } catch (error) {
    expect(error).toBeInstanceOf(ComplianceViolationError);
    return (error as ComplianceViolationError).invariant;
  }
  return null;
}

const CONFIGS: [string, Partial<VmConfig>][] = [
  ["TDP MMU, A/D bits", {}],
  ["TDP MMU, no A/D bits", { adBits: false }],
  ["shadow MMU, A/D bits", { mmu: "direct" }],
  ["shadow MMU, no A/D bits", { mmu: "direct", adBits: false }],
];

describe.each(CONFIGS)("SPTEs without mmu_lock, %s", (_name, config) => {
  it("are aged by compare-exchange of the value that was read", () => {
    const { cpu, sptep, spte, format } = watched(config);
    const aged = markSpteForAccessTrack(format, spte);
    expect(refusalOf(() => cpu.cmpxchg(sptep, spte, aged, "full"))).toBeNull();
  });

  it.each<[string, (cpu: Cpu, sptep: Address, spte: Spte) => unknown]>([
    ["a plain store", (cpu, sptep, spte) => cpu.writeOnce(sptep, spte)],
    ["a release store", (cpu, sptep, spte) => cpu.storeRelease(sptep, spte)],
    ["an exchange", (cpu, sptep, spte) => cpu.xchg(sptep, spte, "full")],
    ["an OR", (cpu, sptep) => cpu.fetchOr(sptep, 0n, "full")],
    ["clearing W by AND", (cpu, sptep) => cpu.fetchAnd(sptep, BigInt.asUintN(64, ~W), "full")],
    ["clearing W by compare-exchange", (cpu, sptep, spte) => cpu.cmpxchg(sptep, spte, spte & ~W, "full")],
    ["another page", (cpu, sptep, spte) => cpu.cmpxchg(sptep, spte, spte + 0x1000n, "full")],
    ["a zap", (cpu, sptep, spte) => cpu.cmpxchg(sptep, spte, 1n << 63n, "full")],
    ["making a non-present one present", (cpu, sptep, spte) => cpu.cmpxchg(sptep, 1n << 63n, spte, "full")],
    ["filling it", (cpu, sptep) => cpu.memset64(sptep, 0n, 1)],
  ])("are not changed by %s", (_what, write) => {
    const { cpu, sptep, spte } = watched(config);
    expect(refusalOf(() => write(cpu, sptep, spte))).toBe("locking-3");
  });

  it("get W back by a fast page fault only if they are MMU-writable", () => {
    const { cpu, raw, sptep, spte, format } = watched(config);
    const protectedForLog = spte & ~W;
    raw.writeOnce(sptep, protectedForLog);
    expect(refusalOf(() => cpu.cmpxchg(sptep, protectedForLog, spte, "full"))).toBeNull();
    const protectedForGood = protectedForLog & ~format.shadowMmuWritableMask;
    raw.writeOnce(sptep, protectedForGood);
    const write = () => cpu.cmpxchg(sptep, protectedForGood, protectedForGood | W, "full");
    expect(refusalOf(write)).toBe("locking-3");
  });
});

describe("SPTEs under mmu_lock", () => {
  it.each(CONFIGS)("for write: what is volatile is not overwritten by a plain store, %s", (_name, config) => {
    const { vm, cpu, raw, sptep, spte } = watched(config);
    raw.writeOnce(sptep, spte & ~W);
    cpu.writeLock(vm.memslots.locks.mmuLock);
    // W may come back at any moment.
    expect(refusalOf(() => cpu.writeOnce(sptep, 1n << 63n))).toBe("locking-3");
    expect(refusalOf(() => cpu.xchg(sptep, 1n << 63n, "full"))).toBeNull();
    expect(refusalOf(() => cpu.writeOnce(sptep, 1n << 63n))).toBeNull();
  });

  it("for read: the TDP MMU compares and exchanges, or writes what it has frozen", () => {
    const { vm, cpu, raw, sptep, spte, format } = watched();
    cpu.readLock(vm.memslots.locks.mmuLock);
    expect(refusalOf(() => cpu.writeOnce(sptep, spte))).toBe("locking-3");
    expect(refusalOf(() => cpu.cmpxchg(sptep, spte, format.frozenSpte, "full"))).toBeNull();
    expect(raw.readOnce(sptep)).toBe(format.frozenSpte);
    expect(refusalOf(() => cpu.writeOnce(sptep, 1n << 63n))).toBeNull();
  });

  it("for read: the shadow MMU writes nothing", () => {
    const { vm, cpu, sptep, spte } = watched({ mmu: "direct" });
    cpu.readLock(vm.memslots.locks.mmuLock);
    expect(refusalOf(() => cpu.cmpxchg(sptep, spte, spte & ~W, "full"))).toBe("locking-2");
  });
});

/** A list of the VM's slot that has an entry. */
function usedHead(vm: Vm, cpu: Cpu): KvmRmapHead {
  const slot = vm.memslots.gfnToMemslot(cpu, 0, vm.handle.baseGfn);
  const array = slotRmapArray(cpu, slot, PG_LEVEL_4K);
  for (let index = 0; index < PAGES; index++) {
    const head = offset(array, index * RMAP_HEAD_BYTES) as KvmRmapHead;
    if (kvmRmapGet(cpu, head) !== 0n) return head;
  }
  throw new Error("no page is mapped");
}

/** A VM with one page mapped, its list, and the read section that keeps the slot. */
function watchedList() {
  const { vm, cpu, raw } = watched({ mmu: "direct" });
  const head = usedHead(vm, raw);
  cpu.srcuReadLock(vm.memslots.locks.srcu);
  return { vm, cpu, raw, head, value: raw.readOnce(head), rmaps: vm.shadow!.rmaps };
}

describe("list heads", () => {
  it("are locked and unlocked by readers as they were", () => {
    const { cpu, head, rmaps } = watchedList();
    expect(
      refusalOf(() => kvmRmapUnlockReadonly(rmaps, cpu, head, kvmRmapLockReadonly(rmaps, cpu, head))),
    ).toBeNull();
  });

  it("are locked and changed by writers", () => {
    const { vm, cpu, head, rmaps } = watchedList();
    cpu.writeLock(vm.memslots.locks.mmuLock);
    expect(kvmRmapLock(rmaps, cpu, head)).not.toBe(0n);
    expect(refusalOf(() => kvmRmapUnlock(rmaps, cpu, head, 0n))).toBeNull();
  });

  it("are not changed by readers", () => {
    const { cpu, head, value, rmaps } = watchedList();
    kvmRmapLockReadonly(rmaps, cpu, head);
    for (const change of [0n, value + 8n, value | KVM_RMAP_LOCKED]) {
      expect(refusalOf(() => cpu.storeRelease(head, change))).toBe("rmap-3");
    }
  });

  it("are not changed by writers without the bit, nor by anybody by other means", () => {
    const { vm, cpu, head, value } = watchedList();
    cpu.writeLock(vm.memslots.locks.mmuLock);
    expect(refusalOf(() => cpu.storeRelease(head, 0n))).toBe("rmap-3");
    expect(refusalOf(() => cpu.writeOnce(head, value))).toBe("rmap-3");
    expect(refusalOf(() => cpu.xchg(head, 0n, "full"))).toBe("rmap-3");
    expect(refusalOf(() => cpu.cmpxchg(head, value, 0n, "full"))).toBe("rmap-3");
  });

  it("get their first entry under mmu_lock only", () => {
    const { vm, cpu, raw, head, value } = watchedList();
    raw.writeOnce(head, 0n);
    expect(refusalOf(() => cpu.storeRelease(head, value))).toBe("rmap-3");
    cpu.writeLock(vm.memslots.locks.mmuLock);
    expect(refusalOf(() => cpu.storeRelease(head, value))).toBeNull();
  });

  it("are seen to change under a reader", () => {
    const { cpu, raw, head, rmaps } = watchedList();
    const locked = kvmRmapLockReadonly(rmaps, cpu, head);
    raw.writeOnce(head, (locked + 8n) | KVM_RMAP_LOCKED);
    const { lockdep } = cpu;
    const unlock = () => lockdep.released({ name: "rmap_head->val (KVM_RMAP_LOCKED)", sleeps: false }, head);
    expect(refusalOf(unlock)).toBe("rmap-2");
  });
});
