import { type Cpu, LockAssertionError } from "@kvm-age/machine";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import {
  KVM_RMAP_LOCKED,
  kvmRmapGet,
  kvmRmapLock,
  kvmRmapLockReadonly,
  kvmRmapUnlock,
  kvmRmapUnlockReadonly,
  pteListAdd,
} from "../src/index.js";
import { add, addMany, thrown, underMmuLock } from "./support/operations.js";
import { RmapVm } from "./support/vm.js";

/** One step of an operation: what it did, where, and its operands, as text. */
type Call = readonly string[];

/** The steps of `operation` on an unchecked processor, addresses by name, in order. */
function callsOf(vm: RmapVm, operation: (cpu: Cpu) => void): Call[] {
  const names = new Map<unknown, string>([
    [vm.head(), "head"],
    [vm.mmuLock.address, "mmu_lock"],
  ]);
  const text = (value: unknown): string => names.get(value) ?? String(value);
  const cpu = new RecordingCpu(vm.machine.attach());
  operation(cpu);
  return cpu.steps.map(({ kind, address, operands }) => [
    kind,
    ...(address === null ? [] : [text(address)]),
    ...operands.map(text),
  ]);
}

function preemptionIsOff(vm: RmapVm): boolean {
  try {
    vm.cpu.lockdep.assertPreemptionDisabled();
    return true;
  } catch (error) {
    if (error instanceof LockAssertionError) return false;
    throw error;
  }
}

function withEntries(count: number): { vm: RmapVm; value: bigint } {
  const vm = new RmapVm();
  addMany(vm, vm.head(), count);
  return { vm, value: kvmRmapGet(vm.cpu, vm.head()) };
}

describe("the steps of the lock", () => {
  it("a reader of an empty list looks once; preemption is off around the look and on at once", () => {
    const { vm } = withEntries(0);
    const calls = callsOf(vm, (cpu) => {
      expect(kvmRmapLockReadonly(vm.rmaps, cpu, vm.head())).toBe(0n);
      kvmRmapUnlockReadonly(vm.rmaps, cpu, vm.head(), 0n);
    });
    expect(calls).toEqual([["preemptDisable"], ["readOnce", "head"], ["preemptEnable"]]);
  });

  it("a reader locks with an acquiring exchange, unlocks with a release, then allows preemption", () => {
    const { vm, value } = withEntries(2);
    const calls = callsOf(vm, (cpu) => {
      expect(kvmRmapLockReadonly(vm.rmaps, cpu, vm.head())).toBe(value);
      kvmRmapUnlockReadonly(vm.rmaps, cpu, vm.head(), value);
    });
    expect(calls).toEqual([
      ["preemptDisable"],
      ["readOnce", "head"],
      ["cmpxchg", "head", `${value}`, `${value | KVM_RMAP_LOCKED}`, "acquire"],
      ["readOnce", "head"],
      ["storeRelease", "head", `${value}`],
      ["preemptEnable"],
    ]);
  });

  it("a writer leaves preemption to mmu_lock and does not look before it unlocks", () => {
    const { vm, value } = withEntries(2);
    const calls = callsOf(vm, (cpu) => {
      expect(kvmRmapLock(vm.rmaps, cpu, vm.head())).toBe(value);
      kvmRmapUnlock(vm.rmaps, cpu, vm.head(), 0n);
    });
    expect(calls).toEqual([
      ["readOnce", "head"],
      ["cmpxchg", "head", `${value}`, `${value | KVM_RMAP_LOCKED}`, "acquire"],
      ["storeRelease", "head", "0"],
    ]);
  });

  it("a writer that found the list empty publishes the first entry by one release", () => {
    const { vm } = withEntries(0);
    const calls = callsOf(vm, (cpu) => {
      pteListAdd(vm.rmaps, cpu, vm.rmaps.descriptors, vm.sptep(7), vm.head());
    });
    expect(calls).toEqual([
      ["readOnce", "head"],
      ["storeRelease", "head", `${vm.sptep(7)}`],
    ]);
  });

  it("whoever finds it locked relaxes first and reads again second, as often as it takes", () => {
    const { vm, value } = withEntries(1);
    const other = vm.attach();
    expect(kvmRmapLockReadonly(vm.rmaps, other, vm.head())).toBe(value);
    const release = () => kvmRmapUnlockReadonly(vm.rmaps, other, vm.head(), value);
    const cpu = new InterferingCpu(vm.cpu, [{ step: "relax", address: vm.head(), nth: 3, act: release }]);
    const recording = new RecordingCpu(cpu);
    expect(kvmRmapLockReadonly(vm.rmaps, recording, vm.head())).toBe(value);
    cpu.assertAllHappened();
    const spin = ["relax", "loadAcquire"];
    expect(recording.stepsAt(vm.head())).toEqual(["readOnce", ...spin, ...spin, ...spin, "cmpxchg"]);
    expect(kvmRmapGet(vm.cpu, vm.head())).toBe(value);
  });

  it("a lost exchange is looked at: locked meanwhile is waited for, changed meanwhile is taken as it is", () => {
    const { vm } = withEntries(1);
    const other = vm.attach();
    let taken = 0n;
    const cpu = new InterferingCpu(vm.cpu, [
      {
        step: "cmpxchg",
        address: vm.head(),
        act: () => {
          add(vm, vm.head(), 1, other);
          taken = kvmRmapLockReadonly(vm.rmaps, other, vm.head());
        },
      },
      {
        step: "relax",
        address: vm.head(),
        act: () => kvmRmapUnlockReadonly(vm.rmaps, other, vm.head(), taken),
      },
    ]);
    const recording = new RecordingCpu(cpu);
    expect(kvmRmapLockReadonly(vm.rmaps, recording, vm.head())).toBe(taken);
    cpu.assertAllHappened();
    expect(recording.stepsAt(vm.head())).toEqual(["readOnce", "cmpxchg", "relax", "loadAcquire", "cmpxchg"]);
  });

  it("a list that is empty after the wait is not locked", () => {
    const { vm } = withEntries(1);
    const other = vm.attach();
    other.writeLock(vm.mmuLock);
    kvmRmapLock(vm.rmaps, other, vm.head());
    const purge = () => kvmRmapUnlock(vm.rmaps, other, vm.head(), 0n);
    const cpu = new InterferingCpu(vm.cpu, [{ step: "relax", address: vm.head(), act: purge }]);
    const recording = new RecordingCpu(cpu);
    expect(kvmRmapLockReadonly(vm.rmaps, recording, vm.head())).toBe(0n);
    expect(recording.stepsAt(vm.head())).toEqual(["readOnce", "relax", "loadAcquire"]);
    expect(preemptionIsOff(vm)).toBe(false);
    expect(vm.cpu.readOnce(vm.head())).toBe(0n);
  });

  it("kvmRmapGet hides the bit that the word has", () => {
    const { vm, value } = withEntries(3);
    kvmRmapLockReadonly(vm.rmaps, vm.cpu, vm.head());
    expect(vm.cpu.readOnce(vm.head())).toBe(value | KVM_RMAP_LOCKED);
    expect(kvmRmapGet(vm.cpu, vm.head())).toBe(value);
    expect(preemptionIsOff(vm)).toBe(true);
    kvmRmapUnlockReadonly(vm.rmaps, vm.cpu, vm.head(), value);
    expect(preemptionIsOff(vm)).toBe(false);
  });
});

describe("what adding touches", () => {
  it("without the check for duplicates: the head, its first descriptor, and the new one", () => {
    const vm = new RmapVm({ duplicateCheck: false });
    addMany(vm, vm.head(), 28);
    const first = kvmRmapGet(vm.cpu, vm.head()) - 1n;
    const calls = callsOf(vm, (cpu) => {
      const cache = { allocate: () => vm.rmaps.descriptors.allocate(vm.cpu) };
      expect(pteListAdd(vm.rmaps, cpu, cache, vm.sptep(28), vm.head())).toBe(28);
    });
    const added = kvmRmapGet(vm.cpu, vm.head()) - 1n;
    expect(calls.slice(0, 2).map(([kind]) => kind)).toEqual(["readOnce", "cmpxchg"]);
    expect(calls.slice(2)).toEqual([
      ["readOnce32", `${first + 8n}`],
      ["readOnce32", `${first + 12n}`],
      ["writeOnce32", `${added}`, `${first}`],
      ["writeOnce32", `${added + 12n}`, "28"],
      ["writeOnce32", `${added + 16n}`, `${vm.sptep(28)}`],
      ["writeOnce32", `${added + 8n}`, "1"],
      ["storeRelease", "head", `${added + 1n}`],
    ]);
  });
});

describe("a writer's misuse", () => {
  it("an unlock to a locked value is refused before anything is stored", () => {
    const { vm, value } = withEntries(1);
    const error = underMmuLock(vm, vm.cpu, () => {
      kvmRmapLock(vm.rmaps, vm.cpu, vm.head());
      const caught = thrown(() =>
        kvmRmapUnlock(vm.rmaps, vm.cpu, vm.head(), BigInt.asUintN(64, value | KVM_RMAP_LOCKED)),
      );
      kvmRmapUnlock(vm.rmaps, vm.cpu, vm.head(), value);
      return caught;
    });
    const at = vm.head().toString(16);
    const to = (value | KVM_RMAP_LOCKED).toString(16);
    expect(error.name).toBe("RmapLockError");
    expect(error.message).toBe(
      `unlock to a locked value: rmap head 0x${at} unlocked to 0x${to}, allowed: values without KVM_RMAP_LOCKED`,
    );
  });

  it("a list that changed under a reader is reported with both values", () => {
    const { vm, value } = withEntries(1);
    kvmRmapLockReadonly(vm.rmaps, vm.cpu, vm.head());
    const other = BigInt(vm.sptep(5));
    vm.cpu.writeOnce(vm.head(), other | KVM_RMAP_LOCKED);
    const error = thrown(() => kvmRmapUnlockReadonly(vm.rmaps, vm.cpu, vm.head(), value));
    expect(error.name).toBe("RmapLockError");
    expect(error.message).toBe(
      `list changed under a reader: rmap head 0x${vm.head().toString(16)} unlocked to 0x${value.toString(16)}, allowed: 0x${other.toString(16)}`,
    );
    expect(vm.cpu.readOnce(vm.head())).toBe(other | KVM_RMAP_LOCKED);
  });
});
