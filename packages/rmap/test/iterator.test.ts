import { describe, expect, it } from "vitest";
import { KVM_RMAP_LOCKED, kvmRmapGet, pteListCount, RmapIterator } from "../src/index.js";
import { addMany, remove, slotsOf } from "./support/operations.js";
import { RmapVm } from "./support/vm.js";

function ids(vm: RmapVm, value: bigint): number[] {
  return slotsOf(vm.cpu, value).map((slot) => vm.idOf(slot));
}

const upTo = (count: number, from = 0): number[] => Array.from({ length: count }, (_, index) => from + index);

describe("the order of a walk", () => {
  it.each([
    [0, []],
    [1, [0]],
    [2, [0, 1]],
    [14, upTo(14)],
    [15, [14, ...upTo(14)]],
    [16, [14, 15, ...upTo(14)]],
    [29, [28, ...upTo(14, 14), ...upTo(14)]],
  ])("%i entries: the newest descriptor first, each in the order of its slots", (count, expected) => {
    const vm = new RmapVm();
    addMany(vm, vm.head(), count);
    expect(ids(vm, kvmRmapGet(vm.cpu, vm.head()))).toEqual(expected);
    expect(pteListCount(vm.cpu, vm.head())).toBe(count);
  });

  it("a removal moves the newest descriptor's last entry into the hole", () => {
    const vm = new RmapVm();
    const after = (): number[] => ids(vm, kvmRmapGet(vm.cpu, vm.head()));
    addMany(vm, vm.head(), 16);
    remove(vm, vm.head(), 2);
    expect(after()).toEqual([14, 0, 1, 15, ...upTo(11, 3)]);
    remove(vm, vm.head(), 1);
    expect(after()).toEqual([0, 14, 15, ...upTo(11, 3)]);
    expect(vm.descriptors()).toBe(1);
  });

  it("a chain that shrinks to one entry stays a chain, until it is empty", () => {
    const vm = new RmapVm();
    addMany(vm, vm.head(), 2);
    remove(vm, vm.head(), 0);
    expect(kvmRmapGet(vm.cpu, vm.head()) & 1n).toBe(1n);
    expect(ids(vm, kvmRmapGet(vm.cpu, vm.head()))).toEqual([1]);
    remove(vm, vm.head(), 1);
    expect(vm.cpu.readOnce(vm.head())).toBe(0n);
    expect(vm.descriptors()).toBe(0);
  });
});

describe("an iterator", () => {
  it("may be handed a value with the lock bit, and be used again", () => {
    const vm = new RmapVm();
    addMany(vm, vm.head(0), 1);
    addMany(vm, vm.head(1), 20);
    const iterator = new RmapIterator();
    const chain = vm.cpu.readOnce(vm.head(1)) | KVM_RMAP_LOCKED;
    expect(vm.idOf(iterator.getFirst(vm.cpu, chain))).toBe(14);
    const single = vm.cpu.readOnce(vm.head(0)) | KVM_RMAP_LOCKED;
    expect(vm.idOf(iterator.getFirst(vm.cpu, single))).toBe(0);
    expect(iterator.getNext(vm.cpu)).toBe(0);
    expect(iterator.getFirst(vm.cpu, 0n)).toBe(0);
    expect(iterator.getNext(vm.cpu)).toBe(0);
  });

  it("stays at the end", () => {
    const vm = new RmapVm();
    addMany(vm, vm.head(), 14);
    const iterator = new RmapIterator();
    iterator.getFirst(vm.cpu, kvmRmapGet(vm.cpu, vm.head()));
    for (let more = 1; more < 14; more++) expect(iterator.getNext(vm.cpu)).not.toBe(0);
    for (let more = 0; more < 3; more++) expect(iterator.getNext(vm.cpu)).toBe(0);
  });

  it("reads addresses from the upper half of a full arena as they are", () => {
    const vm = new RmapVm();
    const iterator = new RmapIterator();
    expect(iterator.getFirst(vm.cpu, 0xffff_fff8n)).toBe(0xffff_fff8);
    expect(iterator.getFirst(vm.cpu, 0xffff_fffan)).toBe(0xffff_fff8);
  });
});
