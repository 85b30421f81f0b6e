import { LockAssertionError, type LockdepCpu } from "@kvm-age/machine";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { beforeEach, describe, expect, it } from "vitest";
import {
  checkRmapHead,
  type KvmRmapHead,
  kvmRmapGet,
  kvmRmapLockReadonly,
  kvmRmapUnlockReadonly,
  pteListCount,
  RMAP_RECYCLE_THRESHOLD,
  RmapIterator,
} from "../src/index.js";
import { add, addMany, readLockless, remove, slotsOf, thrown, zapAll, zapOne } from "./support/operations.js";
import { PRESENT, RmapVm } from "./support/vm.js";

const ACCESSED = 0x100n;

let vm: RmapVm;
let head: KvmRmapHead;
let writer: LockdepCpu;
let ager: LockdepCpu;

beforeEach(() => {
  vm = new RmapVm();
  head = vm.head();
  writer = vm.cpu;
  ager = vm.attach();
});

function expectPreemptible(cpu: LockdepCpu): void {
  expect(thrown(() => cpu.lockdep.assertPreemptionDisabled())).toBeInstanceOf(LockAssertionError);
}

function atRest(): void {
  writer.lockdep.assertNothingHeld();
  ager.lockdep.assertNothingHeld();
  expect(checkRmapHead(writer, head)).toEqual([]);
}

describe("a writer while a reader holds the list", () => {
  it.each([1, 2, 16])(
    "zaps an SPTE at once, and unlinks it when the reader has finished (of %i)",
    (count) => {
      addMany(vm, head, count);
      const value = kvmRmapLockReadonly(vm.rmaps, ager, head);
      const sptep = vm.sptep(0);
      const looked = ager.readOnce(sptep);
      const racing = new InterferingCpu(writer, [
        {
          step: "relax",
          address: head,
          nth: 2,
          act: () => {
            // The chain is whole, the entry is gone: an exchange from the value of before does nothing.
            expect(slotsOf(ager, value)).toHaveLength(count);
            expect(ager.readOnce(sptep)).toBe(0n);
            expect(ager.cmpxchg(sptep, looked, PRESENT | ACCESSED, "relaxed")).toBe(0n);
            kvmRmapUnlockReadonly(vm.rmaps, ager, head, value);
          },
        },
      ]);
      zapOne(vm, head, 0, racing);
      racing.assertAllHappened();
      expect(writer.readOnce(sptep)).toBe(0n);
      expect(pteListCount(writer, head)).toBe(count - 1);
      atRest();
    },
  );

  it("adds the second entry when the reader of the first has finished", () => {
    addMany(vm, head, 1);
    const value = kvmRmapLockReadonly(vm.rmaps, ager, head);
    const racing = new InterferingCpu(writer, [
      {
        step: "relax",
        address: head,
        act: () => {
          expect(slotsOf(ager, value)).toEqual([vm.sptep(0)]);
          expect(vm.descriptors()).toBe(0);
          kvmRmapUnlockReadonly(vm.rmaps, ager, head, value);
        },
      },
    ]);
    expect(add(vm, head, 1, racing)).toBe(1);
    racing.assertAllHappened();
    expect(readLockless(vm, ager, head)).toEqual([0, 1]);
    atRest();
  });

  it("frees no descriptor that the reader is in", () => {
    addMany(vm, head, 15);
    const value = kvmRmapLockReadonly(vm.rmaps, ager, head);
    const racing = new InterferingCpu(writer, [
      {
        step: "relax",
        address: head,
        act: () => {
          expect(vm.descriptors()).toBe(2);
          kvmRmapUnlockReadonly(vm.rmaps, ager, head, value);
        },
      },
    ]);
    remove(vm, head, 14, racing);
    racing.assertAllHappened();
    expect(vm.descriptors()).toBe(1);
    atRest();
  });
});

describe("a reader while a writer holds the list", () => {
  it("waits for zap all, finds the list empty, and is preemptible again", () => {
    addMany(vm, head, 16);
    // The reader has seen the list unlocked and full; everything is zapped before its exchange.
    const late = new InterferingCpu(ager, [{ step: "cmpxchg", address: head, act: () => zapAll(vm, head) }]);
    const recording = new RecordingCpu(late);
    expect(readLockless(vm, recording, head)).toEqual([]);
    late.assertAllHappened();
    expect(recording.stepsAt(head)).toEqual(["readOnce", "cmpxchg"]);
    expectPreemptible(ager);
    atRest();
  });

  it("is kept out from the first clear to the publication of 0", () => {
    addMany(vm, head, 16);
    let held = 0;
    const racing = new InterferingCpu(writer, [
      {
        step: "storeRelease",
        address: head,
        act: () => {
          // All is cleared and freed; the head still has its old value, with the bit.
          held = Number(ager.readOnce(head) & 2n);
          expect(vm.descriptors()).toBe(0);
        },
      },
    ]);
    expect(zapAll(vm, head, racing).zapped).toHaveLength(16);
    racing.assertAllHappened();
    expect(held).toBe(2);
    expect(readLockless(vm, ager, head)).toEqual([]);
    atRest();
  });
});

describe("the first entry of an empty list", () => {
  /** Adds entry 0; right before it is published, `act`. */
  function addWhile(act: () => void): void {
    const racing = new InterferingCpu(writer, [{ step: "storeRelease", address: head, act }]);
    expect(add(vm, head, 0, racing)).toBe(0);
    racing.assertAllHappened();
  }

  it("is published over a reader that found nothing, and is not seen by it", () => {
    let value = 1n;
    addWhile(() => {
      value = kvmRmapLockReadonly(vm.rmaps, ager, head);
    });
    expect(value).toBe(0n);
    expectPreemptible(ager);
    expect(new RmapIterator().getFirst(ager, value)).toBe(0);
    kvmRmapUnlockReadonly(vm.rmaps, ager, head, value);
    expect(readLockless(vm, ager, head)).toEqual([0]);
    atRest();
  });

  it("is seen without the lock by a reader that reads the head again, as Linux 6.15 does", () => {
    let value = 1n;
    addWhile(() => {
      value = kvmRmapLockReadonly(vm.rmaps, ager, head);
    });
    expect(new RmapIterator().getFirst(ager, kvmRmapGet(ager, head))).toBe(vm.sptep(0));
    // Nothing keeps the writer from unlinking it, and freeing its table, in the midst of that walk.
    zapOne(vm, head, 0);
    kvmRmapUnlockReadonly(vm.rmaps, ager, head, value);
    atRest();
  });
});

describe("two readers", () => {
  /** Clears Accessed in every entry that has it; returns whether any had. */
  function age(cpu: InterferingCpu | LockdepCpu): boolean {
    let young = false;
    const value = kvmRmapLockReadonly(vm.rmaps, cpu, head);
    for (const sptep of slotsOf(cpu, value)) {
      const spte = cpu.readOnce(sptep);
      if ((spte & ACCESSED) === 0n) continue;
      cpu.cmpxchg(sptep, spte, spte ^ ACCESSED, "relaxed");
      young = true;
    }
    kvmRmapUnlockReadonly(vm.rmaps, cpu, head, value);
    return young;
  }

  it("take turns: the first reports young, the second does not", () => {
    addMany(vm, head, 3);
    writer.writeOnce(vm.sptep(1), PRESENT | ACCESSED);
    const answers: boolean[] = [];
    // The second is about to lock when the first comes along and does it all.
    const second = new InterferingCpu(ager, [
      {
        step: "cmpxchg",
        address: head,
        act: () => answers.push(age(vm.cpu)),
      },
    ]);
    answers.push(age(second));
    second.assertAllHappened();
    expect(answers).toEqual([true, false]);
    atRest();
  });
});

describe("long lists", () => {
  it("40 parents are unlinked from the front", () => {
    addMany(vm, head, 40);
    const order: number[] = [];
    for (;;) {
      const first = new RmapIterator().getFirst(writer, kvmRmapGet(writer, head));
      if (first === 0) break;
      order.push(vm.idOf(first));
      zapOne(vm, head, order.at(-1)!);
      expect(checkRmapHead(writer, head)).toEqual([]);
    }
    expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, id) => id));
    // The last of the first descriptor takes the place of what is removed at its front.
    expect(order.slice(0, 13)).toEqual([28, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 14]);
    expect(vm.descriptors()).toBe(0);
  });

  it("the 1002nd entry is the first that is one too many", () => {
    const counts = Array.from({ length: 1002 }, (_, id) => add(vm, head, id));
    expect(counts.findIndex((count) => count > RMAP_RECYCLE_THRESHOLD)).toBe(1001);
    expect(zapAll(vm, head).zapped).toHaveLength(1002);
    expect(vm.descriptors()).toBe(0);
    expect(writer.readOnce(head)).toBe(0n);
  });
});
