import { describe, expect, it } from "vitest";
import { PTE_LIST_EXT, type PteListDesc, spteCountWord } from "../src/descriptor/pte-list-desc.js";
import { rmapDescriptor } from "../src/head/kvm-rmap-head.js";
import { kvmRmapGet, pteListCount, RmapCorruptionError } from "../src/index.js";
import { listState } from "./support/list-state.js";
import { add, addMany, readLockless, remove, thrown, zapOne } from "./support/operations.js";
import { PRESENT, RmapVm } from "./support/vm.js";

function firstDescriptor(vm: RmapVm): PteListDesc {
  return rmapDescriptor(kvmRmapGet(vm.cpu, vm.head()));
}

/** Runs `action`, which must be refused with this sentence and leave the list as it was and unlocked. */
function expectRefusal(vm: RmapVm, id: number, what: string, action: () => void): void {
  const value = vm.cpu.readOnce(vm.head());
  const before = listState(vm, vm.cpu, vm.head());
  const error = thrown(action);
  expect(error).toBeInstanceOf(RmapCorruptionError);
  expect(error.name).toBe("RmapCorruptionError");
  const hex = (number: number | bigint) => `0x${number.toString(16)}`;
  expect(error.message).toBe(
    `${what}: SPTE slot ${hex(vm.sptep(id))}, rmap head ${hex(vm.head())} with value ${hex(value)}`,
  );
  expect(error).toMatchObject({ what, head: vm.head(), value, sptep: vm.sptep(id) });
  expect(vm.cpu.readOnce(vm.head())).toBe(value);
  expect(listState(vm, vm.cpu, vm.head())).toEqual(before);
  vm.cpu.writeUnlock(vm.mmuLock);
  vm.cpu.lockdep.assertNothingHeld();
}

describe("removing what is not there", () => {
  it("from an empty list", () => {
    const vm = new RmapVm();
    expectRefusal(vm, 3, "removed from an empty list", () => remove(vm, vm.head(), 3));
  });

  it("from a list whose only entry is another one", () => {
    const vm = new RmapVm();
    addMany(vm, vm.head(), 1);
    expectRefusal(vm, 3, "removed, but another slot is the only entry", () => remove(vm, vm.head(), 3));
    expect(readLockless(vm, vm.cpu, vm.head())).toEqual([0]);
  });

  it.each([2, 14, 15, 40])("from a chain of %i", (count) => {
    const vm = new RmapVm();
    addMany(vm, vm.head(), count);
    expectRefusal(vm, 99, "removed, but not in the list", () => remove(vm, vm.head(), 99));
    expect(readLockless(vm, vm.cpu, vm.head())).toHaveLength(count);
  });

  it("when zapping one: the SPTE is cleared first, as everywhere", () => {
    const vm = new RmapVm();
    addMany(vm, vm.head(), 2);
    vm.cpu.writeOnce(vm.sptep(99), PRESENT);
    expectRefusal(vm, 99, "removed, but not in the list", () => zapOne(vm, vm.head(), 99));
    expect(vm.cpu.readOnce(vm.sptep(99))).toBe(0n);
  });

  it("an entry behind a count that is too small is not there", () => {
    const vm = new RmapVm();
    addMany(vm, vm.head(), 3);
    vm.cpu.writeOnce32(spteCountWord(firstDescriptor(vm)), 2);
    expectRefusal(vm, 2, "removed, but not in the list", () => remove(vm, vm.head(), 2));
  });
});

it("removing from a chain whose first descriptor is empty", () => {
  const vm = new RmapVm();
  addMany(vm, vm.head(), PTE_LIST_EXT + 1);
  vm.cpu.writeOnce32(spteCountWord(firstDescriptor(vm)), 0);
  const what = "removed from a list whose first descriptor is empty";
  expectRefusal(vm, 3, what, () => remove(vm, vm.head(), 3));
});

describe("adding twice", () => {
  it.each([1, 2, 14, 15, 40])("the first of %i entries", (count) => {
    const vm = new RmapVm();
    addMany(vm, vm.head(), count);
    expectRefusal(vm, 0, "added twice", () => add(vm, vm.head(), 0));
  });

  it("to another list is fine", () => {
    const vm = new RmapVm();
    addMany(vm, vm.head(0), 20);
    addMany(vm, vm.head(1), 20);
    expect(readLockless(vm, vm.cpu, vm.head(1))).toHaveLength(20);
  });

  it("goes unnoticed without the check", () => {
    const vm = new RmapVm({ duplicateCheck: false });
    addMany(vm, vm.head(), 2);
    expect(add(vm, vm.head(), 0)).toBe(2);
    expect(pteListCount(vm.cpu, vm.head())).toBe(3);
  });
});
