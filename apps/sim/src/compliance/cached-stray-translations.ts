import { type Cpu, memberRequestsWord, REQUEST_TLB_FLUSH } from "@kvm-age/machine";
import { REQUEST_MMU_FREE_OBSOLETE_ROOTS } from "@kvm-age/page-fault";
import { kvmPagesPerHpage } from "@kvm-age/spte";
import { type CachedTranslation, PERMISSION_ANY_WRITE } from "@kvm-age/vcpu";
import { MMU_SHAPES } from "../vm/mmu-shape.js";
import type { Vm } from "../vm/vm.js";
import type { GuestMemoryMap } from "./guest-memory-map.js";
import { hex } from "./hex.js";
import { protectedGfns } from "./protected-gfns.js";

/** Whether the vCPU drops everything that it has cached before it uses any of it. */
function willFlush(vm: Vm, cpu: Cpu, index: number): boolean {
  const { member } = vm.handle.vcpus[index]!.hardware;
  const requests = cpu.readOnce32(memberRequestsWord(vm.handle.flushDomain, member));
  // A vCPU that drops an obsolete root loads another, and drops what it has cached with it: zapping everything fast flushes in no other way.
  return (requests & (REQUEST_TLB_FLUSH | REQUEST_MMU_FREE_OBSOLETE_ROOTS)) !== 0;
}

/** What is wrong with one page of a cached translation, if anything. */
function wrongPage(
  memory: GuestMemoryMap,
  guarded: ReadonlySet<number>,
  isLinear: boolean,
  page: number,
  pfn: number,
  writable: boolean,
): string | undefined {
  const gfns = memory.gfnsOf(pfn);
  if (gfns.length === 0) return "which no slot maps any more";
  if (isLinear && !gfns.includes(page)) return `which is mapped for gfn ${gfns.map(hex).join(", ")}`;
  const table = gfns.find((gfn) => guarded.has(gfn));
  if (writable && table !== undefined) return `writable, which holds the shadowed guest table ${hex(table)}`;
  return undefined;
}

function wrongTranslation(
  memory: GuestMemoryMap,
  guarded: ReadonlySet<number>,
  isLinear: boolean,
  { level, page, pfn, permissions }: CachedTranslation,
): string | undefined {
  const writable = (permissions & PERMISSION_ANY_WRITE) !== 0;
  for (let index = 0; index < kvmPagesPerHpage(level); index++) {
    const wrong = wrongPage(memory, guarded, isLinear, page + index, pfn + index, writable);
    if (wrong === undefined) continue;
    return `page ${hex(page + index)} leads to pfn ${hex(pfn + index)}, ${wrong}`;
  }
  return undefined;
}

/**
 * Translations that a vCPU could use without a walk although what they lead to was invalidated, or is a guest table that must not be
 * written. A vCPU that will flush before it enters the guest has none. Where the guest's addresses are guest-physical the page must be the
 * very one; where the guest maps them itself, it may lead to any page of the guest's, as old translations do until the guest flushes.
 */
export function cachedStrayTranslations(vm: Vm, cpu: Cpu, memory: GuestMemoryMap): string[] {
  const guarded = protectedGfns(vm, cpu);
  const { tdp } = MMU_SHAPES[vm.config.mmu];
  return vm.handle.vcpus.flatMap((_, index) => {
    if (willFlush(vm, cpu, index)) return [];
    return vm
      .vcpu(index)
      .hardware.cachedTranslations(cpu)
      .map((cached) => wrongTranslation(memory, guarded, tdp && cached.vpid === 0, cached))
      .filter((found) => found !== undefined)
      .map((found) => `TLB of vCPU ${index}: ${found}`);
  });
}
