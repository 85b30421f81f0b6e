import type { Cpu } from "@kvm-age/machine";
import {
  isAccessTrackSpte,
  isExecutablePte,
  isWritablePte,
  kvmPagesPerHpage,
  restoreAccTrackSpte,
  type Spte,
  type SpteFormat,
  spteToPfn,
} from "@kvm-age/spte";
import type { Vm } from "../vm/vm.js";
import type { GuestMemoryMap } from "./guest-memory-map.js";
import { EPT_ENTRIES, type GuestEntryFormat, LONG_MODE_ENTRIES, walkGuestTables } from "./guest-walk.js";
import { hex } from "./hex.js";
import { forEachReachableLeaf, type ReachableLeaf, type VcpuRoot, vcpuRoots } from "./reachable-leaves.js";

const FLAGS = 0xfff;

/** The guest's own root behind a root of the shadow MMU. */
function guestRootOf(vm: Vm, cpu: Cpu, { vcpu, kind }: VcpuRoot): number {
  const shadow = vm.vcpu(vcpu).shadow!;
  const context = kind === "nested" ? shadow.guestMmu : shadow.rootMmu;
  const pgd = Number(cpu.readOnce(context.guestPgdWord));
  return pgd - (pgd & FLAGS);
}

function entriesOf(vm: Vm, kind: VcpuRoot["kind"]): GuestEntryFormat {
  return kind === "nested" && vm.config.mmuMode === "ept" ? EPT_ENTRIES : LONG_MODE_ENTRIES;
}

/** What one page of a leaf allows beyond what the guest's tables do. */
function excess(
  vm: Vm,
  cpu: Cpu,
  memory: GuestMemoryMap,
  root: VcpuRoot,
  { spte, page }: { readonly spte: Spte; readonly page: number },
  pfn: number,
): string | undefined {
  const { format } = vm.shadow!;
  const walked = walkGuestTables(vm, cpu, entriesOf(vm, root.kind), guestRootOf(vm, cpu, root), page);
  if (walked === null) return "the guest maps nothing there";
  const mapped = memory.pfnOf(walked.gfn);
  if (mapped !== pfn) return `the guest maps gfn ${hex(walked.gfn)}, which is pfn ${hex(mapped)}`;
  if (isWritablePte(spte) && !walked.write) return "the guest's tables allow no write without a walk";
  return isExecutablePte(format, spte) && !walked.execute ? "the guest's tables allow no fetch" : undefined;
}

/** The leaf with the permissions that it has, or had before aging hid them. */
function revealed(format: SpteFormat, spte: Spte): Spte {
  return isAccessTrackSpte(format, spte) ? restoreAccTrackSpte(format, spte) : spte;
}

function excessOfLeaf(
  vm: Vm,
  cpu: Cpu,
  memory: GuestMemoryMap,
  root: VcpuRoot,
  leaf: ReachableLeaf,
): string | undefined {
  const { format } = vm.shadow!;
  const spte = revealed(format, leaf.spte);
  const first = spteToPfn(format, spte);
  for (let index = 0; index < kvmPagesPerHpage(leaf.level); index++) {
    const page = leaf.page + index;
    const found = excess(vm, cpu, memory, root, { spte, page }, first + index);
    if (found !== undefined) {
      return `${root.kind} page ${hex(page)}: SPTE ${hex(leaf.spte)} leads to pfn ${hex(first + index)}, but ${found}`;
    }
  }
  return undefined;
}

/** Leaves under the roots in use that allow more than a fresh walk of the guest's own tables. For guests that have just flushed. */
export function unwalkableTranslations(vm: Vm, cpu: Cpu, memory: GuestMemoryMap): string[] {
  const found: string[] = [];
  for (const root of vcpuRoots(vm, cpu)) {
    if (root.kind !== "shadow" && root.kind !== "nested") continue;
    forEachReachableLeaf(vm.shadow!.format, cpu, root, (leaf) => {
      const sentence = excessOfLeaf(vm, cpu, memory, root, leaf);
      if (sentence !== undefined) found.push(`vCPU ${root.vcpu}, ${sentence}`);
    });
  }
  return found;
}
