import { ACCESS_FAILED } from "@kvm-age/vcpu";
import { describe, expect, test } from "vitest";
import { createVm } from "../../src/vm/create-vm.js";
import { MMUS, type Mmu } from "../../src/vm/mmu-shape.js";
import { testSlots } from "../../src/vm/test-slots.js";
import type { VmConfig } from "../../src/vm/vm-config.js";

const START_GPA = 2 ** 32;
const PAGES = 6;
const SLOTS = 3;

function config(mmu: Mmu): VmConfig {
  return {
    vcpus: 1,
    policy: "lockless",
    mmu,
    mmuMode: "ept",
    adBits: true,
    ruleSet: "linux-7.3",
    seed: 1,
    lockdep: false,
    sanitizer: false,
    guestPages: PAGES * SLOTS,
    aliasedSlots: { startGpa: START_GPA, pages: PAGES },
    hugePages: false,
    hostPages: 512,
    memoryLimitPages: 512,
    swapSlots: 0,
    contents: false,
    recordAccesses: false,
  };
}

describe.each(MMUS)("slots that map the same host memory, --mmu %s", (mmu) => {
  const { vm, cpu } = createVm(config(mmu));
  const guest = vm.vcpu(0);
  const access = (page: number, kind: "read" | "write"): number => {
    const result = guest.hardware.access(cpu, vm.gpaOf(page), kind);
    // This thread is the flusher as well, which would wait for ever for a vCPU inside the guest.
    guest.hardware.exitGuest(cpu);
    return result;
  };
  const writeAll = (): number[] => Array.from({ length: PAGES * SLOTS }, (_, page) => access(page, "write"));

  test("lie one behind the other, over one piece of host memory", () => {
    const { baseHva: hva } = vm.handle;
    expect(testSlots(vm.handle)).toEqual([
      { slot: 1, gpa: START_GPA, hva, pages: PAGES },
      { slot: 2, gpa: START_GPA + PAGES * 4096, hva, pages: PAGES },
      { slot: 3, gpa: START_GPA + 2 * PAGES * 4096, hva, pages: PAGES },
    ]);
    expect([vm.hvaOf(1), vm.hvaOf(PAGES + 1)]).toEqual([hva + 4096, hva + 4096]);
  });

  test("show the guest the same page under every slot", () => {
    const pfns = writeAll();
    expect(pfns.every((pfn) => pfn > 0)).toBe(true);
    expect(new Set(pfns).size).toBe(PAGES);
    expect(pfns.slice(PAGES)).toEqual([...pfns.slice(0, PAGES), ...pfns.slice(0, PAGES)]);
  });

  test("are young together: one call asks every slot", () => {
    const { notifiers } = vm.hostMm;
    const clear = (page: number): boolean => notifiers.clearYoung(cpu, vm.hvaOf(page), vm.hvaOf(page) + 4096);
    for (let page = 0; page < PAGES; page++) clear(page);
    guest.hardware.flushTlb(cpu);
    access(2 * PAGES + 3, "read");
    expect(Array.from({ length: PAGES }, (_, page) => clear(page))).toEqual([
      false,
      false,
      false,
      true,
      false,
      false,
    ]);
    expect(clear(3)).toBe(false);
  });

  test("are read-only together, and writable again", () => {
    vm.hostMm.mprotect(cpu, vm.hvaOf(0), PAGES * 4096, false);
    expect(writeAll()).toEqual(Array.from({ length: PAGES * SLOTS }, () => ACCESS_FAILED));
    expect(guest.hardware.lastFault(cpu)?.errno).toBe("EFAULT");
    expect(access(0, "read")).toBeGreaterThan(0);
    vm.hostMm.mprotect(cpu, vm.hvaOf(0), PAGES * 4096, true);
    expect(writeAll().every((pfn) => pfn > 0)).toBe(true);
  });

  test("survive a reset of the MMU context, which drops the roots", () => {
    const before = access(0, "read");
    const { cr0Wp } = guest.hardware.guestPaging(cpu);
    guest.toggleCr0Wp(cpu);
    expect(guest.hardware.guestPaging(cpu).cr0Wp).toBe(!cr0Wp);
    const shadowRoots = [guest.shadow?.rootMmu, guest.shadow?.guestMmu].map((mmu) => mmu?.rootHpa(cpu) ?? 0);
    const tdpRoot = guest.tdp === null ? 0 : cpu.readOnce32(guest.tdp.rootHpaWord);
    expect([...shadowRoots, tdpRoot]).toEqual([0, 0, 0]);
    expect(access(0, "read")).toBe(before);
  });
});
