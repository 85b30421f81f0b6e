import { describe, expect, it } from "vitest";
import { attachKvmRmaps, kvmRmapGet, pteListAdd, pteListRemove } from "../src/index.js";
import { add, readLockless, underMmuLock } from "./support/operations.js";
import { RmapVm } from "./support/vm.js";

describe("another thread's view", () => {
  it.each([true, false])(
    "made from the handle works on the same lists (duplicateCheck %s)",
    (duplicateCheck) => {
      const vm = new RmapVm({ duplicateCheck });
      const { cpu, machine, mmuLock } = vm;
      const view = attachKvmRmaps(machine, structuredClone(vm.rmaps.handle), { mmuLock });
      expect(view.duplicateCheck).toBe(duplicateCheck);
      expect(view.descriptors.name).toBe("pte_list_desc");
      expect(view.descriptors.objectBytes).toBe(128);
      add(vm, vm.head(), 0);
      underMmuLock(vm, cpu, () => pteListAdd(view, cpu, view.descriptors, vm.sptep(1), vm.head()));
      expect(readLockless(vm, cpu, vm.head())).toEqual([0, 1]);
      underMmuLock(vm, cpu, () => {
        pteListRemove(view, cpu, vm.sptep(0), vm.head());
        pteListRemove(vm.rmaps, cpu, vm.sptep(1), vm.head());
      });
      expect(kvmRmapGet(cpu, vm.head())).toBe(0n);
      expect(vm.descriptors()).toBe(0);
    },
  );
});
