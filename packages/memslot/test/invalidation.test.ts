import { describe, expect, it } from "vitest";
import {
  type Hva,
  KvmMmuNotifier,
  kvmMmuInvalidateEnd,
  kvmMmuInvalidateRangeAdd,
  kvmMmuInvalidateStart,
  mmuInvalidateInProgress,
  mmuInvalidateRetry,
  mmuInvalidateRetryGfn,
  mmuInvalidateRetryGfnUnsafe,
  UnbalancedInvalidationError,
} from "../src/index.js";
import { BUFFER, createVm, gfn, hva, type TestVm } from "./support/vm.js";

/** A vCPU's fault and a host change, step by step, as the table of the protocol names the steps. */
function scene(): {
  vm: TestVm;
  snapshot(): void;
  start(pages?: readonly number[]): void;
  end(pages?: readonly number[]): void;
  /** Takes `mmu_lock` for read and asks whether page `page` may be mapped. */
  faultLocks(page?: number): "retry" | "maps";
} {
  const vm = createVm();
  vm.set({});
  const notifier = new KvmMmuNotifier(vm.memslots, vm.mmu);
  const at = (page: number): Hva => hva(BUFFER + page * 4096);
  const range = (pages: readonly number[]) => ({ start: at(pages[0]!), end: at(pages[1]!), blockable: true });
  let mmuSeq = 0n;
  return {
    vm,
    snapshot: () => {
      mmuSeq = vm.memslots.mmuInvalidateSeq(vm.cpu);
      vm.cpu.smpRmb();
    },
    start: (pages = [0, 1]) => notifier.invalidateRangeStart(vm.cpu, range(pages)),
    end: (pages = [0, 1]) => notifier.invalidateRangeEnd(vm.cpu, range(pages)),
    faultLocks: (page = 0) => {
      vm.cpu.readLock(vm.memslots.locks.mmuLock);
      const retry = mmuInvalidateRetryGfn(vm.memslots, vm.cpu, mmuSeq, gfn(0x100 + page));
      expect(mmuInvalidateRetryGfnUnsafe(vm.memslots, vm.cpu, mmuSeq, gfn(0x100 + page))).toBe(retry);
      vm.cpu.readUnlock(vm.memslots.locks.mmuLock);
      return retry ? "retry" : "maps";
    },
  };
}

describe("why the protocol works", () => {
  it("snapshot, start, fault locks: retry", () => {
    const s = scene();
    s.snapshot();
    s.start();
    expect(s.faultLocks()).toBe("retry");
  });

  it("snapshot, start, end, fault locks: retry", () => {
    const s = scene();
    s.snapshot();
    s.start();
    s.end();
    expect(s.faultLocks()).toBe("retry");
  });

  it("snapshot, fault locks and maps, start: the start unmaps it", () => {
    const s = scene();
    s.snapshot();
    expect(s.faultLocks()).toBe("maps");
    s.start();
    expect(s.vm.mmu.calls).toContain("unmapGfnRange 0:0 [0x100, 0x101)");
  });

  it("start, snapshot, fault locks before the end: retry until the end", () => {
    const s = scene();
    s.start();
    s.snapshot();
    expect([s.faultLocks(), s.faultLocks()]).toEqual(["retry", "retry"]);
    s.end();
    s.snapshot();
    expect(s.faultLocks()).toBe("maps");
  });

  it("start, snapshot, end, fault locks: one spurious retry", () => {
    const s = scene();
    s.start();
    s.snapshot();
    s.end();
    expect(s.faultLocks()).toBe("retry");
    s.snapshot();
    expect(s.faultLocks()).toBe("maps");
  });

  it("another gfn: maps while the invalidation is open, one retry when it has ended", () => {
    const s = scene();
    s.start([4, 6]);
    s.snapshot();
    expect([3, 4, 5, 6].map((page) => s.faultLocks(page))).toEqual(["maps", "retry", "retry", "maps"]);
    s.end([4, 6]);
    expect(s.faultLocks(3)).toBe("retry");
  });

  it("several slots: a gfn not yet added may be mapped, and is unmapped by the later handler", () => {
    const s = scene();
    s.vm.set({ slot: 1, guestPhysAddr: 0x200000, userspaceAddr: BUFFER + 0x10000 });
    s.snapshot();
    const verdicts: string[] = [];
    s.vm.mmu.onCall = (name) => {
      if (name !== "unmapGfnRange") return;
      const retry = mmuInvalidateRetryGfn(s.vm.memslots, s.vm.cpu, 0n, gfn(0x200));
      verdicts.push(retry ? "retry" : "maps");
    };
    s.start([15, 17]);
    expect(verdicts).toEqual(["maps", "retry"]);
    expect(s.vm.mmu.calls.slice(-3)).toEqual([
      "unmapGfnRange 0:0 [0x10f, 0x110)",
      "unmapGfnRange 0:1 [0x200, 0x201)",
      "flushRemoteTlbs",
    ]);
  });
});

describe("the hull", () => {
  it("grows while any invalidation is open and is reset by the next first one", () => {
    const s = scene();
    s.start([2, 3]);
    s.start([8, 9]);
    s.snapshot();
    expect([1, 2, 5, 8, 9].map((page) => s.faultLocks(page))).toEqual([
      "maps",
      "retry",
      "retry",
      "retry",
      "maps",
    ]);
    s.end([2, 3]);
    s.snapshot();
    expect(s.faultLocks(2)).toBe("retry");
    s.end([8, 9]);
    expect(mmuInvalidateInProgress(s.vm.memslots, s.vm.cpu)).toBe(0);
    s.start([8, 9]);
    s.snapshot();
    expect([2, 5, 8].map((page) => s.faultLocks(page))).toEqual(["maps", "maps", "retry"]);
  });

  it("counts one sequence step for each end", () => {
    const s = scene();
    for (let round = 0; round < 3; round++) s.start([round, round + 1]);
    for (let round = 0; round < 3; round++) {
      s.end([round, round + 1]);
      expect(s.vm.memslots.mmuInvalidateSeq(s.vm.cpu)).toBe(BigInt(round + 1));
    }
  });
});

describe("mmuInvalidateRetry", () => {
  it("knows no gfns", () => {
    const s = scene();
    const ask = (): boolean => mmuInvalidateRetry(s.vm.memslots, s.vm.cpu, 0n);
    expect(ask()).toBe(false);
    s.start();
    expect(ask()).toBe(true);
    s.end();
    expect(ask()).toBe(true);
    expect(mmuInvalidateRetry(s.vm.memslots, s.vm.cpu, 1n)).toBe(false);
  });
});

describe("misuse", () => {
  it("a range outside an invalidation is counted and ignored", () => {
    const { vm } = scene();
    vm.cpu.writeLock(vm.memslots.locks.mmuLock);
    kvmMmuInvalidateRangeAdd(vm.memslots, vm.cpu, gfn(1), gfn(2));
    expect(vm.memslots.warningCount(vm.cpu, "range-add-outside-invalidation")).toBe(1);
  });

  it("an invalidation without a range is counted, and makes every fault retry meanwhile", () => {
    const { vm } = scene();
    vm.cpu.writeLock(vm.memslots.locks.mmuLock);
    kvmMmuInvalidateStart(vm.memslots, vm.cpu);
    expect(mmuInvalidateRetryGfn(vm.memslots, vm.cpu, 0n, gfn(7))).toBe(true);
    expect(vm.memslots.warningCount(vm.cpu, "retry-without-range")).toBe(1);
    kvmMmuInvalidateEnd(vm.memslots, vm.cpu);
    expect(vm.memslots.warningCount(vm.cpu, "invalidation-without-range")).toBe(1);
  });

  it("an end too many is an error", () => {
    const { vm } = scene();
    vm.cpu.writeLock(vm.memslots.locks.mmuLock);
    expect(() => kvmMmuInvalidateEnd(vm.memslots, vm.cpu)).toThrow(UnbalancedInvalidationError);
  });

  it("without mmu_lock for write, lockdep objects", () => {
    const { vm } = scene();
    expect(() => kvmMmuInvalidateStart(vm.memslots, vm.cpu)).toThrow(/mmu_lock is not held for write/);
    expect(() => kvmMmuInvalidateEnd(vm.memslots, vm.cpu)).toThrow(/mmu_lock is not held for write/);
    expect(() => mmuInvalidateRetryGfn(vm.memslots, vm.cpu, 0n, gfn(1))).toThrow(
      /mmu_lock is not held for any/,
    );
  });
});
