import type { KvmMmuPage } from "../page/kvm-mmu-page.js";

/**
 * Pages that are prepared for zapping and wait for the commit (`invalid_list`). Local to one operation, which commits it
 * before it ends, even if it gives `mmu_lock` away in between.
 */
export class InvalidList {
  readonly pages: KvmMmuPage[] = [];

  get isEmpty(): boolean {
    return this.pages.length === 0;
  }
}
