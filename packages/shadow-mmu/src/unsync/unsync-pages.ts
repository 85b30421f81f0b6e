import type { Cpu } from "@kvm-age/machine";
import { type KvmMmuPage, unsyncChildrenWord } from "../page/kvm-mmu-page.js";
import { clearUnsyncChildBit } from "./unsync-child-bitmap.js";

/** Pages that one walk records at most (`KVM_PAGE_ARRAY_NR`). */
export const KVM_PAGE_ARRAY_NR = 16;

/** One step down: entry `index` of page `parent`. */
export interface UnsyncStep {
  readonly parent: KvmMmuPage;
  readonly index: number;
}

/** An unsync page and the steps that led to it, the lowest first. */
export interface UnsyncLeaf {
  readonly sp: KvmMmuPage;
  readonly steps: readonly UnsyncStep[];
}

/**
 * What one walk has found (`struct kvm_mmu_pages`): unsync pages, and the pages on the way to them, which take their places
 * too. Local to one operation.
 */
export class UnsyncPages {
  readonly leaves: UnsyncLeaf[] = [];
  /** Pages recorded, those on the way included. */
  private count = 0;

  /** Records a page on the way; true if there is no room for another one. */
  addParent(): boolean {
    this.count++;
    return this.count === KVM_PAGE_ARRAY_NR;
  }

  /** Records an unsync page, once; true if there is no room for another one. */
  addLeaf(sp: KvmMmuPage, steps: readonly UnsyncStep[]): boolean {
    if (this.leaves.some((leaf) => leaf.sp === sp)) return false;
    this.leaves.push({ sp, steps: steps.toReversed() });
    return this.addParent();
  }

  /**
   * `mmu_pages_clear_parents`: the leaf is dealt with. Clears the marks of the steps that led to it, as far up as the page
   * they lie in has none left. Held: `mmu_lock` for write.
   */
  clearParents(cpu: Cpu, leaf: UnsyncLeaf): void {
    for (const { parent, index } of leaf.steps) {
      clearUnsyncChildBit(cpu, parent, index);
      if (cpu.readOnce32(unsyncChildrenWord(parent)) !== 0) return;
    }
  }
}
