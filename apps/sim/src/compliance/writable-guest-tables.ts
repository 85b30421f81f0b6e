import type { Cpu } from "@kvm-age/machine";
import { isMmuWritableSpte, isWritablePte, kvmPagesPerHpage } from "@kvm-age/spte";
import type { Vm } from "../vm/vm.js";
import type { GuestMemoryMap } from "./guest-memory-map.js";
import { hex } from "./hex.js";
import { protectedGfns } from "./protected-gfns.js";
import { forEachReachableLeaf, vcpuRoots } from "./reachable-leaves.js";

/**
 * Leaves of the TDP MMU through which the guest could write, or a fast page fault let it write, to a table that the shadow MMU takes to be
 * in sync. (The shadow MMU's own leaves are found by its own checker, by their lists.)
 */
export function writableGuestTables(vm: Vm, cpu: Cpu, _memory: GuestMemoryMap): string[] {
  const guarded = protectedGfns(vm, cpu);
  const { tdp } = vm;
  if (tdp === null || guarded.size === 0) return [];
  const found: string[] = [];
  for (const root of vcpuRoots(vm, cpu).filter(({ kind }) => kind === "tdp")) {
    forEachReachableLeaf(tdp.format, cpu, root, ({ page, level, spte }) => {
      if (!isWritablePte(spte) && !isMmuWritableSpte(tdp.format, spte)) return;
      for (let gfn = page; gfn < page + kvmPagesPerHpage(level); gfn++) {
        if (!guarded.has(gfn)) continue;
        found.push(`guest table ${hex(gfn)}: the TDP MMU maps it by SPTE ${hex(spte)} of level ${level}`);
      }
    });
  }
  return found;
}
