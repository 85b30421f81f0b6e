import {
  type HvaToPfnResult,
  KVM_MEM_READONLY,
  kvmMmuInvalidateEnd,
  kvmMmuInvalidateRangeAdd,
  kvmMmuInvalidateStart,
  kvmSetMemoryRegion,
  NULL_SLOT,
  noSecondaryMmu,
} from "@kvm-age/memslot";
import { createSpteFormat, type Gfn, PFERR_WRITE_MASK } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { faultinPfn, type KvmPageFault, kvmMmuFinishPageFault, RetPf } from "../src/index.js";
import { HOST_PFN } from "./kit/linear-host.js";
import { Rig, SLOT_GFN } from "./kit/rig.js";

const WRITE = PFERR_WRITE_MASK;
const READ = 0;
/** Behind the slot, below `maxGfnExclusive`. */
const OUTSIDE = 0x80000;

function invalidateStart(rig: Rig, page: number): void {
  const { cpu, memslots } = rig;
  const gfn = SLOT_GFN + page;
  cpu.writeLock(memslots.locks.mmuLock);
  kvmMmuInvalidateStart(memslots, cpu);
  kvmMmuInvalidateRangeAdd(memslots, cpu, gfn as Gfn, (gfn + 1) as Gfn);
  cpu.writeUnlock(memslots.locks.mmuLock);
}

function invalidateEnd(rig: Rig): void {
  const { cpu, memslots } = rig;
  cpu.writeLock(memslots.locks.mmuLock);
  kvmMmuInvalidateEnd(memslots, cpu);
  cpu.writeUnlock(memslots.locks.mmuLock);
}

function faultin(rig: Rig, fault: KvmPageFault): RetPf {
  return faultinPfn(rig, rig.cpu, rig.host, fault);
}

describe("a page of a slot", () => {
  it("is found, with the invalidation sequence from before the lookup", () => {
    const rig = new Rig();
    const before = rig.memslots.mmuInvalidateSeq(rig.cpu);
    const fault = rig.fault(3, WRITE);
    expect(faultin(rig, fault)).toBe(RetPf.continue);
    expect(fault).toMatchObject({ pfn: HOST_PFN + 3, mapWritable: true, mmuSeq: before, errno: null });
    expect(rig.host.released).toEqual([]);
  });

  it("that the host has read-only is not to be mapped writable", () => {
    const rig = new Rig();
    rig.host.writable = false;
    const fault = rig.fault(3, READ);
    expect(faultin(rig, fault)).toBe(RetPf.continue);
    expect(fault.mapWritable).toBe(false);
  });

  it("under invalidation is retried without a lookup", () => {
    const rig = new Rig();
    invalidateStart(rig, 3);
    expect(faultin(rig, rig.fault(3, WRITE))).toBe(RetPf.retry);
    expect(rig.host.lookups).toBe(0);
    expect(faultin(rig, rig.fault(4, WRITE))).toBe(RetPf.continue);
  });

  it("that is invalidated during the lookup is given back and retried", () => {
    const rig = new Rig();
    rig.host.onLookup = () => {
      invalidateStart(rig, 3);
      invalidateEnd(rig);
      return undefined;
    };
    expect(faultin(rig, rig.fault(3, WRITE))).toBe(RetPf.retry);
    expect(rig.host.released).toEqual([[HOST_PFN + 3, "unused"]]);
  });

  it("is emulated if the slot is read-only and the access a write", () => {
    const rig = new Rig({ slotFlags: KVM_MEM_READONLY });
    expect(faultin(rig, rig.fault(3, WRITE))).toBe(RetPf.emulate);
    expect(rig.host.lookups).toBe(0);
    expect(faultin(rig, rig.fault(3, READ))).toBe(RetPf.continue);
  });

  it.each([
    ["fault", RetPf.error, "EFAULT"],
    ["sigpending", RetPf.error, "EINTR"],
    ["hwpoison", RetPf.retry, "EHWPOISON"],
    ["ro-fault", RetPf.emulate, null],
  ] as const)("that the host answers with %s", (error, expected, errno) => {
    const rig = new Rig();
    rig.host.onLookup = (): HvaToPfnResult => ({ error });
    const fault = rig.fault(3, WRITE);
    expect(faultin(rig, fault)).toBe(expected);
    expect(fault.errno).toBe(errno);
  });

  it("of a slot that is being deleted is retried", () => {
    const rig = new Rig();
    const results: RetPf[] = [];
    const flushShadowMemslot = (): void => void results.push(faultin(rig, rig.fault(3, WRITE)));
    kvmSetMemoryRegion(
      rig.memslots,
      rig.cpu,
      { ...noSecondaryMmu, flushShadowMemslot },
      { slot: 0, flags: 0, guestPhysAddr: SLOT_GFN * 4096, memorySize: 0, userspaceAddr: 0 },
    );
    expect(results).toEqual([RetPf.retry]);
    expect(rig.host.lookups).toBe(0);
  });
});

describe("an address outside every slot", () => {
  it("goes on without slot and without page, to be cached", () => {
    const rig = new Rig();
    const fault = rig.faultAt(OUTSIDE, WRITE);
    fault.mapWritable = true;
    expect(faultin(rig, fault)).toBe(RetPf.continue);
    expect(fault).toMatchObject({ slot: NULL_SLOT, mapWritable: false });
    expect(rig.host.lookups).toBe(0);
  });

  it("is emulated at once without MMIO caching", () => {
    const rig = new Rig({ format: createSpteFormat({ mode: "ept", mmioCaching: false }) });
    expect(faultin(rig, rig.faultAt(OUTSIDE, WRITE))).toBe(RetPf.emulate);
  });

  it("is emulated at once from the first gfn that no entry can describe", () => {
    const rig = new Rig();
    expect(faultin(rig, rig.faultAt(rig.maxGfnExclusive - 1, WRITE))).toBe(RetPf.continue);
    expect(faultin(rig, rig.faultAt(rig.maxGfnExclusive, WRITE))).toBe(RetPf.emulate);
  });
});

describe("the page goes back to the host", () => {
  const PFN = 0x123 as KvmPageFault["pfn"];

  it.each([
    ["unused if nothing was mapped", RetPf.retry, true, "unused"],
    ["unused, read-only as well", RetPf.retry, false, "unused"],
    ["dirty if it may have been mapped writable", RetPf.fixed, true, "dirty"],
    ["dirty, although the entry was there", RetPf.spurious, true, "dirty"],
    ["clean if it could not be mapped writable", RetPf.fixed, false, "clean"],
    ["clean, if the guest must not write at all", RetPf.writeProtected, false, "clean"],
  ] as const)("%s", (_name, result, mapWritable, how) => {
    const rig = new Rig();
    const fault = rig.fault(3, WRITE);
    fault.mapWritable = mapWritable;
    kvmMmuFinishPageFault(rig.cpu, rig.host, fault, PFN, result);
    expect(rig.host.released).toEqual([[PFN, how]]);
  });

  it("not at all if there was none", () => {
    const rig = new Rig();
    kvmMmuFinishPageFault(rig.cpu, rig.host, rig.faultAt(OUTSIDE, WRITE), PFN, RetPf.emulate);
    expect(rig.host.released).toEqual([]);
  });
});
