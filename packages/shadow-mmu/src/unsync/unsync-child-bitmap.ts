import type { Cpu } from "@kvm-age/machine";
import { ShadowPageCorruptionError } from "../errors.js";
import {
  type KvmMmuPage,
  SPTE_ENT_PER_PAGE,
  unsyncChildBitmapWord,
  unsyncChildrenWord,
} from "../page/kvm-mmu-page.js";

// The bitmap and its count are changed under `mmu_lock` held for write, or under `mmu_unsync_pages_lock` and `mmu_lock`
// held for read, so that plain accesses do.

function bitOf(index: number): number {
  return (1 << (index & 31)) >>> 0;
}

/** `__test_and_set_bit`: whether entry `index` was marked already. The count is the caller's. */
export function testAndSetUnsyncChildBit(cpu: Cpu, sp: KvmMmuPage, index: number): boolean {
  const word = unsyncChildBitmapWord(sp, index);
  const bits = cpu.readOnce32(word);
  if ((bits & bitOf(index)) !== 0) return true;
  cpu.writeOnce32(word, (bits | bitOf(index)) >>> 0);
  return false;
}

/**
 * `clear_unsync_child_bit`: entry `index` leads to nothing unsync any more.
 *
 * @throws ShadowPageCorruptionError if it was not marked.
 */
export function clearUnsyncChildBit(cpu: Cpu, sp: KvmMmuPage, index: number): void {
  const word = unsyncChildBitmapWord(sp, index);
  const bits = cpu.readOnce32(word);
  const unsyncChildren = cpu.readOnce32(unsyncChildrenWord(sp));
  if ((bits & bitOf(index)) === 0 || unsyncChildren === 0) {
    throw new ShadowPageCorruptionError("unsync child cleared twice", { sp, index, unsyncChildren });
  }
  cpu.writeOnce32(unsyncChildrenWord(sp), unsyncChildren - 1);
  cpu.writeOnce32(word, (bits & ~bitOf(index)) >>> 0);
}

/** The first marked entry from `from` on, or 512. */
export function nextUnsyncChild(cpu: Cpu, sp: KvmMmuPage, from: number): number {
  let index = from;
  while (index < SPTE_ENT_PER_PAGE) {
    const bits = cpu.readOnce32(unsyncChildBitmapWord(sp, index)) >>> (index & 31);
    // The lowest set bit is the word less its upper neighbours; `clz32` counts from the other end.
    if (bits !== 0) return index + 31 - Math.clz32(bits & -bits);
    index = (index | 31) + 1;
  }
  return SPTE_ENT_PER_PAGE;
}
