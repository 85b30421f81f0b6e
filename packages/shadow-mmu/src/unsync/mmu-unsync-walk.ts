import type { Cpu } from "@kvm-age/machine";
import { isLargePte, isShadowPresentPte, type Spte } from "@kvm-age/spte";
import {
  type KvmMmuPage,
  NO_PAGE,
  SPTE_ENT_PER_PAGE,
  spSptep,
  unsyncChildrenWord,
  unsyncWord,
} from "../page/kvm-mmu-page.js";
import { spteToChildSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { clearUnsyncChildBit, nextUnsyncChild } from "./unsync-child-bitmap.js";
import { UnsyncPages, type UnsyncStep } from "./unsync-pages.js";

/** What lies behind a marked entry: nothing unsync, something, or so much that there is no room left. */
type Found = "none" | "some" | "full";

/** The table that a marked entry leads to, `NO_PAGE` if it leads to none any more. */
function markedChild(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, index: number): KvmMmuPage {
  const spte = cpu.readOnce(spSptep(cpu, sp, index)) as Spte;
  return isShadowPresentPte(spte) && !isLargePte(spte) ? spteToChildSp(mmu, cpu, spte) : NO_PAGE;
}

function visitChild(
  mmu: ShadowMmu,
  cpu: Cpu,
  child: KvmMmuPage,
  pages: UnsyncPages,
  steps: UnsyncStep[],
): Found {
  if (child === NO_PAGE) return "none";
  if (cpu.readOnce32(unsyncChildrenWord(child)) !== 0) {
    return pages.addParent() ? "full" : walkMarked(mmu, cpu, child, pages, steps);
  }
  if (cpu.readOnce32(unsyncWord(child)) === 0) return "none";
  return pages.addLeaf(child, steps) ? "full" : "some";
}

/** `__mmu_unsync_walk`: visits the marked entries of `sp` in order and clears the marks that lead to nothing unsync. */
function walkMarked(
  mmu: ShadowMmu,
  cpu: Cpu,
  sp: KvmMmuPage,
  pages: UnsyncPages,
  steps: UnsyncStep[],
): Found {
  let result: Found = "none";
  let index = nextUnsyncChild(cpu, sp, 0);
  for (; index < SPTE_ENT_PER_PAGE; index = nextUnsyncChild(cpu, sp, index + 1)) {
    steps.push({ parent: sp, index });
    const found = visitChild(mmu, cpu, markedChild(mmu, cpu, sp, index), pages, steps);
    steps.pop();
    if (found === "full") return found;
    if (found === "none") clearUnsyncChildBit(cpu, sp, index);
    else result = found;
  }
  return result;
}

/**
 * `mmu_unsync_walk`: finds unsync pages below `parent`, at most as many as there is room to record; null if there are none.
 * The caller deals with them and walks again. Held: `mmu_lock` for write.
 */
export function mmuUnsyncWalk(mmu: ShadowMmu, cpu: Cpu, parent: KvmMmuPage): UnsyncPages | null {
  if (cpu.readOnce32(unsyncChildrenWord(parent)) === 0) return null;
  const pages = new UnsyncPages();
  pages.addParent();
  return walkMarked(mmu, cpu, parent, pages, []) === "none" ? null : pages;
}
