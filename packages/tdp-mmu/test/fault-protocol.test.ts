import { CacheExhaustedError } from "@kvm-age/machine";
import type { HvaToPfnResult } from "@kvm-age/memslot";
import { KvmPageFault, RetPf } from "@kvm-age/page-fault";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import {
  kvmMmuFreeObsoleteRoots,
  kvmMmuLoad,
  kvmTdpMmuMap,
  kvmTdpMmuPageFault,
  kvmTdpMmuZapAllFast,
} from "../src/index.js";
import { Guest, SLOT_GFN } from "./kit/guest.js";
import {
  invalidateEnd,
  invalidateStart,
  leaves,
  READ,
  sptepAt,
  tables,
  underReadLock,
  WRITE,
} from "./kit/operations.js";
import { EVERY_FORMAT, ofPage } from "./kit/reference-values.js";

const NOT_PRESENT = 0x8000000000000000n;

/** A fault during which `act` happens right before `mmu_lock` is taken, after every unlocked check. */
function faultWithInterference(guest: Guest, page: number, act: () => void): RetPf {
  const address = guest.mmu.mmuLock.address;
  const cpu = new InterferingCpu(guest.cpu, [{ step: "readLock", address, act }]);
  const result = guest.faultWithCode(page, WRITE, cpu);
  expect(cpu.happened).toBe(1);
  return result;
}

describe("an invalidation and a fault of the same page", () => {
  it("started after the lookup: the fault sees it in progress under mmu_lock", () => {
    const guest = new Guest();
    expect(faultWithInterference(guest, 3, () => invalidateStart(guest, 3, 4))).toBe(RetPf.retry);
    expect(leaves(guest)).toEqual([0, 0, 0]);
    expect(guest.host.released).toEqual({ unused: 1, clean: 0, dirty: 0 });
  });

  it("begun and ended after the lookup: the sequence has moved", () => {
    const guest = new Guest();
    const result = faultWithInterference(guest, 3, () => {
      invalidateStart(guest, 3, 4);
      invalidateEnd(guest);
    });
    expect(result).toBe(RetPf.retry);
    expect(guest.host.released.unused).toBe(1);
  });

  it("begun during the lookup: the unlocked check spares the lock", () => {
    const guest = new Guest();
    guest.host.onLookup = () => invalidateStart(guest, 3, 4);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(3, WRITE, cpu)).toBe(RetPf.retry);
    expect(cpu.log).not.toContain("read_lock kvm->mmu_lock");
    expect(guest.host.released.unused).toBe(1);
  });

  it("begun and ended during the lookup: retry", () => {
    const guest = new Guest();
    guest.host.onLookup = () => {
      invalidateStart(guest, 3, 4);
      invalidateEnd(guest);
    };
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.retry);
  });

  it("started after the mapping: the mapping is gone", () => {
    const guest = new Guest();
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.fixed);
    invalidateStart(guest, 3, 4);
    expect(guest.spte(3)).toBe(NOT_PRESENT);
    expect(leaves(guest)).toEqual([0, 0, 0]);
  });

  it("open when the fault begins: retries without a lookup until it ends", () => {
    const guest = new Guest();
    let lookups = 0;
    guest.host.onLookup = () => void lookups++;
    invalidateStart(guest, 3, 4);
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.retry);
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.retry);
    expect(lookups).toBe(0);
    invalidateEnd(guest);
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.fixed);
  });

  it("open when the fault begins, ended during the lookup: one retry, since the sequence moved", () => {
    const guest = new Guest();
    invalidateStart(guest, 100, 101);
    guest.host.onLookup = () => invalidateEnd(guest);
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.retry);
    guest.host.onLookup = () => {};
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.fixed);
  });
});

describe("an invalidation of another page", () => {
  it("in progress: the fault maps", () => {
    const guest = new Guest();
    expect(faultWithInterference(guest, 3, () => invalidateStart(guest, 4, 10))).toBe(RetPf.fixed);
    invalidateEnd(guest);
  });

  it("finished meanwhile: costs a retry", () => {
    const guest = new Guest();
    const result = faultWithInterference(guest, 3, () => {
      invalidateStart(guest, 4, 10);
      invalidateEnd(guest);
    });
    expect(result).toBe(RetPf.retry);
  });

  it("two in progress: the hull between them counts", () => {
    const guest = new Guest();
    invalidateStart(guest, 0, 2);
    invalidateStart(guest, 8, 10);
    expect(guest.faultWithCode(5, WRITE)).toBe(RetPf.retry);
    expect(guest.faultWithCode(10, WRITE)).toBe(RetPf.fixed);
  });
});

describe("an obsolete root", () => {
  it("invalidated between lookup and lock: retry, page unused; a new root maps", () => {
    const guest = new Guest();
    const result = faultWithInterference(guest, 3, () => kvmTdpMmuZapAllFast(guest.mmu, guest.cpu));
    expect(result).toBe(RetPf.retry);
    expect(guest.host.released.unused).toBe(1);
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.retry);
    kvmMmuFreeObsoleteRoots(guest.mmu, guest.cpu, guest.vcpu);
    kvmMmuLoad(guest.mmu, guest.cpu, guest.vcpu);
    expect(guest.faultWithCode(3, WRITE)).toBe(RetPf.fixed);
  });

  it("stops even a fault that has no slot", () => {
    const guest = new Guest();
    kvmTdpMmuZapAllFast(guest.mmu, guest.cpu);
    expect(guest.faultWithCode(9000, WRITE)).toBe(RetPf.retry);
  });
});

it("a fault into a slot that is being deleted retries without a lookup", () => {
  const guest = new Guest();
  const results: RetPf[] = [];
  guest.deleteSlot({
    ...guest.arch,
    flushShadowMemslot: (cpu, slot) => {
      results.push(guest.faultWithCode(3, WRITE));
      guest.arch.flushShadowMemslot(cpu, slot);
    },
  });
  expect(results).toEqual([RetPf.retry]);
  expect(guest.host.released).toEqual({ unused: 0, clean: 0, dirty: 0 });
});

describe("the page goes back to the host", () => {
  it("dirty if it could be mapped writable, even when nothing changed", () => {
    const guest = new Guest();
    guest.faultWithCode(3, READ);
    expect(guest.host.released).toEqual({ unused: 0, clean: 0, dirty: 1 });
    guest.faultWithCode(3, READ);
    expect(guest.host.released).toEqual({ unused: 0, clean: 0, dirty: 2 });
  });

  it("clean if it could not", () => {
    const guest = new Guest();
    guest.host.writable = false;
    guest.faultWithCode(3, READ);
    expect(guest.host.released).toEqual({ unused: 0, clean: 1, dirty: 0 });
  });

  it("as the small page that was looked up, not as the start of the huge one", () => {
    const guest = new Guest();
    guest.host.level = 2;
    const released: number[] = [];
    guest.host.releasePage = (_cpu, pfn) => void released.push(pfn);
    guest.faultWithCode(700, WRITE);
    expect(released).toEqual([0x200000 + 700]);
  });

  it("while mmu_lock is still held", () => {
    const guest = new Guest();
    const cpu = new RecordingCpu(guest.cpu);
    guest.host.releasePage = () => void cpu.log.push("release");
    guest.faultWithCode(3, WRITE, cpu);
    const steps = cpu.log.filter((step) => step === "release" || step.endsWith("mmu_lock"));
    expect(steps).toEqual(["read_lock kvm->mmu_lock", "release", "read_unlock kvm->mmu_lock"]);
  });
});

describe("a lookup that fails", () => {
  const ERRORS = [
    ["fault", RetPf.error, "EFAULT"],
    ["sigpending", RetPf.error, "EINTR"],
    ["hwpoison", RetPf.retry, "EHWPOISON"],
    ["ro-fault", RetPf.emulate, null],
  ] as const;

  it.each(ERRORS)("with %s", (error, expected, errno) => {
    const guest = new Guest();
    guest.host.hvaToPfn = (): HvaToPfnResult => ({ error });
    const fault = new KvmPageFault((SLOT_GFN + 3) * 4096, WRITE, false);
    expect(kvmTdpMmuPageFault(guest.mmu, guest.cpu, guest.vcpu, guest.host, fault)).toBe(expected);
    expect(fault.errno).toBe(errno);
    expect(tables(guest)).toBe(0);
  });
});

it("a write to a read-only slot is emulated, a read maps without Host-writable", () => {
  const guest = new Guest();
  guest.setRegion({ slot: 1, gfn: 0x80000, pages: 16, hva: 0x7f0040000000 as never, flags: 2 });
  const page = 0x80000 - SLOT_GFN;
  expect(guest.faultWithCode(page, WRITE)).toBe(RetPf.emulate);
  expect(tables(guest)).toBe(0);
  guest.host.writable = false;
  expect(guest.faultWithCode(page, READ)).toBe(RetPf.fixed);
});

describe("a lost race while mapping", () => {
  const reference = EVERY_FORMAT[0]!;

  it("for the leaf: retry; the winner's leaf stays", () => {
    const guest = new Guest();
    guest.faultWithCode(4, WRITE);
    const address = sptepAt(guest, 3, 1);
    const act = (): void => void guest.faultWithCode(3, WRITE);
    const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address, act }]);
    expect(guest.faultWithCode(3, WRITE, cpu)).toBe(RetPf.retry);
    expect(cpu.happened).toBe(1);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
    expect(leaves(guest)).toEqual([2, 0, 0]);
    expect(guest.host.released).toEqual({ unused: 1, clean: 0, dirty: 2 });
  });

  it("for a table: retry; the loser's table, never reachable, is freed at once", () => {
    const guest = new Guest();
    const address = sptepAt(guest, 3, 4);
    const act = (): void => void guest.faultWithCode(3, WRITE);
    const cpu = new RecordingCpu(new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address, act }]));
    const inUse = (): number[] => [
      guest.machine.frames.allocatedFrames(guest.cpu) - guest.vcpu.shadowPageCache.count(guest.cpu),
      guest.mmu.headers.allocatedObjects(guest.cpu) - guest.vcpu.pageHeaderCache.count(guest.cpu),
    ];
    const before = inUse();
    expect(guest.faultWithCode(3, WRITE, cpu)).toBe(RetPf.retry);
    expect(tables(guest)).toBe(3);
    expect(cpu.log).not.toContain("call_rcu");
    expect(inUse()).toEqual(before.map((count) => count + 3));
    // The event of the table that lost was emitted all the same.
    expect(cpu.eventNames().filter((name) => name === "kvm_mmu_get_page")).toHaveLength(1);
  });

  it("against a frozen entry: retry without a store", () => {
    const guest = new Guest();
    guest.faultWithCode(4, WRITE);
    const sptep = sptepAt(guest, 3, 1);
    guest.cpu.writeOnce(sptep, reference.frozen);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(3, WRITE, cpu)).toBe(RetPf.retry);
    expect(cpu.writesTo(sptep)).toEqual([]);
    expect(guest.spte(3)).toBe(reference.frozen);
  });

  it("when an upper entry is frozen between the snapshot and the step down: retry", () => {
    const guest = new Guest();
    guest.faultWithCode(4, WRITE);
    const address = sptepAt(guest, 3, 2);
    const act = (): void => guest.cpu.writeOnce(address, reference.frozen);
    // Reads of the entry: the step to it, then the look before going down.
    const cpu = new InterferingCpu(guest.cpu, [{ step: "readOnce", address, nth: 2, act }]);
    expect(guest.faultWithCode(3, WRITE, cpu)).toBe(RetPf.retry);
    expect(cpu.happened).toBe(1);
  });
});

describe("the caches", () => {
  it("are topped up before the lookup and pay for the tables", () => {
    const guest = new Guest();
    guest.vcpu.shadowPageCache.drain(guest.cpu);
    guest.vcpu.pageHeaderCache.drain(guest.cpu);
    let stock = 0;
    guest.host.onLookup = () => {
      stock = guest.vcpu.shadowPageCache.count(guest.cpu);
    };
    guest.faultWithCode(3, WRITE);
    expect(stock).toBeGreaterThanOrEqual(5);
    expect(guest.vcpu.shadowPageCache.count(guest.cpu)).toBe(stock - 3);
    expect(guest.vcpu.pageHeaderCache.count(guest.cpu)).toBe(stock - 3);
  });

  it("must be stocked: mapping never allocates", () => {
    const guest = new Guest();
    guest.vcpu.shadowPageCache.drain(guest.cpu);
    guest.vcpu.pageHeaderCache.drain(guest.cpu);
    const fault = new KvmPageFault(SLOT_GFN * 4096, WRITE, false);
    fault.slot = guest.slot;
    expect(() =>
      underReadLock(guest, guest.cpu, () => kvmTdpMmuMap(guest.mmu, guest.cpu, guest.vcpu, fault)),
    ).toThrow(CacheExhaustedError);
  });
});
