import { type Address, NULL_ADDRESS, offset } from "@kvm-age/machine";
import { expect, it } from "vitest";
import {
  checkMemslotInvariants,
  KVM_MEM_LOG_DIRTY_PAGES,
  KvmMmuNotifier,
  type Slot,
  slotArgument,
} from "../src/index.js";
import {
  MEMSLOTS_MMU_INVALIDATE_IN_PROGRESS,
  MEMSLOTS_NR_DIRTY_LOGGING,
  MEMSLOTS_NR_PAGES,
  MEMSLOTS_SHADOW_ROOT_ALLOCATED,
} from "../src/memslots/memslots-layout.js";
import { SET_GENERATION, SET_GFN_ROOT, SET_HVA_ROOT, SET_LAST_USED_SLOT } from "../src/set/slot-set.js";
import {
  SLOT_AS_ID,
  SLOT_BASE_GFN,
  SLOT_DIRTY_BITMAP,
  SLOT_FLAGS,
  SLOT_ID,
  SLOT_LPAGE_INFO,
  SLOT_NPAGES,
  SLOT_USERSPACE_ADDR,
} from "../src/slot/slot.js";
import { BUFFER, createVm, gfn, hva, type TestVm } from "./support/vm.js";

function healthy(): TestVm {
  const vm = createVm();
  for (let id = 0; id < 4; id++) {
    vm.set({
      slot: id,
      guestPhysAddr: id * 0x10000,
      userspaceAddr: BUFFER + id * 0x8000,
      flags: id === 3 ? KVM_MEM_LOG_DIRTY_PAGES : 0,
    });
  }
  vm.set({ slot: slotArgument(1, 200) });
  return vm;
}

const slot = (vm: TestVm, id: number): Slot => vm.memslots.gfnToMemslot(vm.cpu, 0, gfn(id * 16));
const set = (vm: TestVm): Address => vm.memslots.kvmMemslots(vm.cpu, 0);

it("is silent about a healthy VM, also in the middle of an invalidation", () => {
  const vm = healthy();
  expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
  const range = { start: hva(BUFFER), end: hva(BUFFER + 1), blockable: true };
  new KvmMmuNotifier(vm.memslots, vm.mmu).invalidateRangeStart(vm.cpu, range);
  expect(checkMemslotInvariants(vm.memslots, vm.cpu)).toEqual([]);
});

// Every line of the checker is shown a state that it must object to.
it.each<[string, (vm: TestVm) => void, RegExp]>([
  [
    "overlap",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 1), SLOT_NPAGES), 17),
    /slots 1 and 2 overlap in gfn/,
  ],
  [
    "order of gfns",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 1), SLOT_BASE_GFN), 0x1000),
    /gfn tree: slot 1 stands before slot 2/,
  ],
  [
    "order of hvas",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 3), SLOT_USERSPACE_ADDR), 0),
    /hva tree: slot 2 stands before slot 3/,
  ],
  [
    "subtree ends",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 3), SLOT_USERSPACE_ADDR), 0x1000000),
    /does not know the highest end/,
  ],
  [
    "heap order",
    (vm) => {
      for (const id of [0, 1, 2, 3]) vm.cpu.writeOnce32(offset(slot(vm, id), SLOT_ID), 4 * 128 - id);
    },
    /gfn tree: slot \d+ lies below slot \d+/,
  ],
  [
    "bucket",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 2), SLOT_ID), 77),
    /id hash: slot 77 stands in bucket 2/,
  ],
  [
    "lost from the gfn tree",
    (vm) => vm.cpu.writeOnce32(offset(set(vm), SET_GFN_ROOT), NULL_ADDRESS),
    /gfn tree and the id hash hold different slots/,
  ],
  [
    "lost from the hva tree",
    (vm) => vm.cpu.writeOnce32(offset(set(vm), SET_HVA_ROOT), NULL_ADDRESS),
    /gfn tree and the hva tree hold different slots/,
  ],
  [
    "sets differ",
    (vm) => {
      const other = vm.memslots.inactiveMemslots(vm.cpu, 0);
      vm.cpu.writeOnce32(offset(other, SET_GFN_ROOT), NULL_ADDRESS);
    },
    /the active and the inactive set hold different slots/,
  ],
  [
    "stale cache",
    (vm) => vm.cpu.writeOnce32(offset(set(vm), SET_LAST_USED_SLOT), 0x1000),
    /last_used_slot is not in the set/,
  ],
  [
    "generation in progress",
    (vm) => vm.cpu.writeOnce(offset(set(vm), SET_GENERATION), 2n ** 63n),
    /has bit 63 although no update runs/,
  ],
  [
    "foreign generation",
    (vm) => vm.cpu.writeOnce(offset(set(vm), SET_GENERATION), 7n),
    /generation 7 belongs to another address space/,
  ],
  [
    "pages",
    (vm) => vm.cpu.writeOnce(offset(vm.memslots.address, MEMSLOTS_NR_PAGES), 81n),
    /nr_memslot_pages is 81, the slots add up to 80/,
  ],
  [
    "logging",
    (vm) => vm.cpu.writeOnce32(offset(vm.memslots.address, MEMSLOTS_NR_DIRTY_LOGGING), 0),
    /nr_memslots_dirty_logging is 0, the slots add up to 1/,
  ],
  [
    "leaked slot",
    (vm) => void vm.memslots.slotSlab.allocate(vm.cpu),
    /slot structures in use is 6, the slots add up to 5/,
  ],
  [
    "in progress",
    (vm) => vm.cpu.writeOnce32(offset(vm.memslots.address, MEMSLOTS_MMU_INVALIDATE_IN_PROGRESS), 1),
    /mmu_invalidate_in_progress is 1 with 0 active/,
  ],
  [
    "INVALID",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 1), SLOT_FLAGS), 65536),
    /slot 1 is INVALID although no update runs/,
  ],
  [
    "address space",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 1), SLOT_AS_ID), 1),
    /slot 1 says it belongs to address space 1/,
  ],
  ["empty slot", (vm) => vm.cpu.writeOnce32(offset(slot(vm, 1), SLOT_NPAGES), 0), /slot 1 has no pages/],
  [
    "unaligned",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 1), SLOT_USERSPACE_ADDR), 0x8001),
    /slot 1 has an unaligned userspace_addr/,
  ],
  [
    "no bitmap",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 3), SLOT_DIRTY_BITMAP), 0),
    /slot 3 is logged but has no dirty bitmap/,
  ],
  [
    "bitmap",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 1), SLOT_DIRTY_BITMAP), 4096),
    /slot 1 has a dirty bitmap but is not logged/,
  ],
  [
    "lpage 2M",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 1), SLOT_LPAGE_INFO), 0),
    /slot 1 has no disallow_lpage array for 2M/,
  ],
  [
    "lpage 1G",
    (vm) => vm.cpu.writeOnce32(offset(slot(vm, 1), SLOT_LPAGE_INFO + 4), 0),
    /slot 1 has no disallow_lpage array for 1G/,
  ],
  [
    "no rmaps",
    (vm) => vm.cpu.writeOnce32(offset(vm.memslots.address, MEMSLOTS_SHADOW_ROOT_ALLOCATED), 1),
    /slot 200 lacks an rmap array/,
  ],
  [
    "no counters",
    (vm) => vm.cpu.writeOnce32(offset(vm.memslots.address, MEMSLOTS_SHADOW_ROOT_ALLOCATED), 1),
    /slot 0 has no write-tracking counters/,
  ],
])("objects to: %s", (_name, damage, expected) => {
  const vm = healthy();
  damage(vm);
  expect(checkMemslotInvariants(vm.memslots, vm.cpu).join("\n")).toMatch(expected);
});
