import { expect, it } from "vitest";
import {
  gfnToHva,
  gfnToHvaMemslot,
  gfnToIndex,
  hvaToGfnMemslot,
  KVM_HVA_ERR_BAD,
  KVM_HVA_ERR_RO_BAD,
  KVM_MEM_READONLY,
  KvmMmuNotifier,
  kvmIsErrorHva,
  lpageInfoDisallowed,
  NULL_SLOT,
  slotLpages,
  toHva,
} from "../src/index.js";
import { createVm, gfn, hva } from "./support/vm.js";

const EXAMPLE = { guestPhysAddr: 0x100003000, memorySize: 0x500000, userspaceAddr: 0x7f0000203000 };

it("turns the worked example's hva events into gfns", () => {
  const vm = createVm();
  vm.set(EXAMPLE);
  const notifier = new KvmMmuNotifier(vm.memslots, vm.mmu);
  notifier.clearYoung(vm.cpu, hva(0x7f0000204800), hva(0x7f0000206001));
  notifier.testYoung(vm.cpu, hva(0x7f0000204123));
  expect(vm.mmu.ranges.map(({ start, end }) => [start, end])).toEqual([
    [0x100004, 0x100007],
    [0x100004, 0x100005],
  ]);
});

it("clips an event at both ends of the slot", () => {
  const vm = createVm();
  vm.set(EXAMPLE);
  const notifier = new KvmMmuNotifier(vm.memslots, vm.mmu);
  notifier.clearYoung(vm.cpu, hva(0x7f0000000000), hva(0x7f0000203001));
  notifier.clearYoung(vm.cpu, hva(0x7f0000702fff), hva(0x7f0001000000));
  notifier.clearYoung(vm.cpu, hva(0x7f0000000000), hva(0x7f0001000000));
  expect(vm.mmu.ranges.map(({ start, end }) => [start, end])).toEqual([
    [0x100003, 0x100004],
    [0x100502, 0x100503],
    [0x100003, 0x100503],
  ]);
});

it("counts the worked example's huge pages and forbids head and tail", () => {
  expect(slotLpages(gfn(0x100003), 0x500, 2)).toBe(3);
  expect(gfnToIndex(gfn(0x100502), gfn(0x100003), 2)).toBe(2);
  const vm = createVm();
  vm.set(EXAMPLE);
  const slot = vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100003));
  const disallowed = [0x100003, 0x100200, 0x100400].map((g) => lpageInfoDisallowed(vm.cpu, slot, gfn(g), 2));
  expect(disallowed).toEqual([true, false, true]);
  expect(lpageInfoDisallowed(vm.cpu, slot, gfn(0x100200), 3)).toBe(true);
});

it("forbids every huge page where gfn and hva disagree in the low bits", () => {
  const vm = createVm();
  vm.set({ guestPhysAddr: 0x40000000, memorySize: 0x80000000, userspaceAddr: 0x7f0000200000 });
  const slot = vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x40000));
  expect(lpageInfoDisallowed(vm.cpu, slot, gfn(0x40000), 2)).toBe(false);
  expect([0x40000, 0x80000].map((g) => lpageInfoDisallowed(vm.cpu, slot, gfn(g), 3))).toEqual([true, true]);
});

it("converts between gfn and hva", () => {
  const vm = createVm();
  vm.set(EXAMPLE);
  const slot = vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100010));
  expect(gfnToHvaMemslot(vm.cpu, slot, gfn(0x100010))).toBe(0x7f0000210000);
  expect(hvaToGfnMemslot(vm.cpu, slot, hva(0x7f0000210fff))).toBe(0x100010);
});

it("answers with error hvas where there is no memory", () => {
  const vm = createVm();
  vm.set({ ...EXAMPLE, flags: KVM_MEM_READONLY });
  const slot = vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(0x100010));
  expect(gfnToHva(vm.cpu, slot, gfn(0x100010), true)).toBe(KVM_HVA_ERR_RO_BAD);
  expect(gfnToHva(vm.cpu, slot, gfn(0x100010), false)).toBe(0x7f0000210000);
  expect(gfnToHva(vm.cpu, NULL_SLOT, gfn(0x100010), false)).toBe(KVM_HVA_ERR_BAD);
  expect(BigInt(KVM_HVA_ERR_BAD)).toBe(0xffff888000000000n);
  expect(BigInt(KVM_HVA_ERR_RO_BAD)).toBe(0xffff888000001000n);
  expect([KVM_HVA_ERR_BAD, KVM_HVA_ERR_RO_BAD, hva(0x7f0000210000)].map(kvmIsErrorHva)).toEqual([
    true,
    true,
    false,
  ]);
});

it.each([-1, 0.5, Number.NaN, 2 ** 47])("refuses %d as a user address", (value) => {
  expect(() => toHva(value)).toThrow(/hva .* is not an integer in \[0, 0x7ffffffff000\]/);
});
