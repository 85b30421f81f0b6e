import type { Cpu } from "@kvm-age/machine";
import {
  kvmForEachMemslot,
  kvmMemslotsHaveRmaps,
  type Slot,
  slotBaseGfn,
  slotNpages,
  slotRmapHead,
} from "@kvm-age/memslot";
import { type KvmRmapHead, kvmRmapGet, RmapIterator } from "@kvm-age/rmap";
import {
  type Gfn,
  gfnRoundForLevel,
  isShadowPresentPte,
  KVM_MAX_HUGEPAGE_LEVEL,
  kvmPagesPerHpage,
  PG_LEVEL_4K,
  type PgLevel,
  type Spte,
  type SpteFormat,
  spteToPfn,
} from "@kvm-age/spte";
import type { Vm } from "../vm/vm.js";
import type { GuestMemoryMap } from "./guest-memory-map.js";
import { hex } from "./hex.js";
import { forEachReachableLeaf, vcpuRoots } from "./reachable-leaves.js";

/** A leaf and the first gfn that it is for. */
export interface MappedLeaf {
  readonly gfn: number;
  readonly level: PgLevel;
  readonly spte: Spte;
}

/** The first page of a leaf that leads elsewhere than the host's mapping, as a sentence. */
function strayPage(
  format: SpteFormat,
  memory: GuestMemoryMap,
  { gfn, level, spte }: MappedLeaf,
): string | undefined {
  const first = spteToPfn(format, spte);
  for (let page = 0; page < kvmPagesPerHpage(level); page++) {
    const mapped = memory.pfnOf(gfn + page);
    if (mapped === first + page) continue;
    return `gfn ${hex(gfn + page)}: SPTE ${hex(spte)} of level ${level} leads to pfn ${hex(first + page)}, the host maps ${mapped < 0 ? "nothing" : hex(mapped)}`;
  }
  return undefined;
}

function leavesOfTdp(vm: Vm, cpu: Cpu): MappedLeaf[] {
  const leaves: MappedLeaf[] = [];
  const roots = new Set<number>();
  for (const root of vcpuRoots(vm, cpu)) {
    // vCPUs share roots.
    if (root.kind !== "tdp" || roots.has(root.rootHpa)) continue;
    roots.add(root.rootHpa);
    forEachReachableLeaf(vm.tdp!.format, cpu, root, ({ page, level, spte }) =>
      leaves.push({ gfn: page, level, spte }),
    );
  }
  return leaves;
}

/** Every list of a slot, with the gfn and level that it is for. */
function forEachRmapHead(
  cpu: Cpu,
  slot: Slot,
  visit: (head: KvmRmapHead, gfn: number, level: PgLevel) => void,
): void {
  const base = slotBaseGfn(cpu, slot);
  for (let at: number = PG_LEVEL_4K; at <= KVM_MAX_HUGEPAGE_LEVEL; at++) {
    const level = at as PgLevel;
    const first = gfnRoundForLevel(base, level);
    for (let gfn: number = first; gfn < base + slotNpages(cpu, slot); gfn += kvmPagesPerHpage(level)) {
      // The list of a huge page that begins before its slot is found by a gfn that is in the slot.
      const inSlot = Math.max(gfn, base) as Gfn;
      visit(slotRmapHead(cpu, slot, inSlot, level) as KvmRmapHead, gfn, level);
    }
  }
}

/** Every leaf of the shadow MMU, whether or not hardware can reach it: invalidations must find them all. */
function leavesOfRmaps(vm: Vm, cpu: Cpu): MappedLeaf[] {
  const leaves: MappedLeaf[] = [];
  if (vm.shadow === null || !kvmMemslotsHaveRmaps(vm.memslots, cpu)) return leaves;
  kvmForEachMemslot(cpu, vm.memslots.kvmMemslots(cpu, 0), (slot) =>
    forEachRmapHead(cpu, slot, (head, gfn, level) => {
      const iterator = new RmapIterator();
      let sptep = iterator.getFirst(cpu, kvmRmapGet(cpu, head));
      for (; sptep !== 0; sptep = iterator.getNext(cpu)) {
        const spte = cpu.readOnce(sptep) as Spte;
        if (isShadowPresentPte(spte)) leaves.push({ gfn, level, spte });
      }
    }),
  );
  return leaves;
}

/** Every leaf of both MMUs: those under the TDP MMU's roots in use, and all of the shadow MMU's. */
export function mappedLeaves(vm: Vm, cpu: Cpu): MappedLeaf[] {
  return [...leavesOfTdp(vm, cpu), ...leavesOfRmaps(vm, cpu)];
}

/** Leaves of either MMU that lead elsewhere than to the page that the host has mapped for their gfn: they have outlived an invalidation. */
export function strayLeaves(vm: Vm, cpu: Cpu, memory: GuestMemoryMap): string[] {
  const format = (vm.tdp ?? vm.shadow!).format;
  return mappedLeaves(vm, cpu)
    .map((leaf) => strayPage(format, memory, leaf))
    .filter((found): found is string => found !== undefined);
}
