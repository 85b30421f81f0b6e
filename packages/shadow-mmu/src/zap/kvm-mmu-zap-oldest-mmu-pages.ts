import type { Cpu } from "@kvm-age/machine";
import { type KvmMmuPage, NO_PAGE, rootCountWord } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { InvalidList } from "./invalid-list.js";
import { kvmMmuCommitZapPage } from "./kvm-mmu-commit-zap-page.js";
import { prepareZapPage } from "./kvm-mmu-prepare-zap-page.js";

/** The oldest page from `from` towards the newest that is no root, or `NO_PAGE`: a zapped root would only be loaded anew. */
function oldestNonRoot(mmu: ShadowMmu, cpu: Cpu, from: KvmMmuPage): KvmMmuPage {
  let sp = from;
  while (sp !== NO_PAGE && cpu.readOnce32(rootCountWord(sp)) !== 0) sp = mmu.activeMmuPages.previous(cpu, sp);
  return sp;
}

/**
 * `kvm_mmu_zap_oldest_mmu_pages`: zaps pages, the oldest first, until `toZap` are gone or only roots are left. Held:
 * `mmu_lock` for write, and `slots_lock` or SRCU.
 *
 * @returns how many were zapped; more than asked for if children went along
 */
export function kvmMmuZapOldestMmuPages(mmu: ShadowMmu, cpu: Cpu, toZap: number): number {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const { activeMmuPages } = mmu;
  const list = new InvalidList();
  let total = 0;
  let sp = oldestNonRoot(mmu, cpu, activeMmuPages.last(cpu));
  while (sp !== NO_PAGE) {
    const newer = activeMmuPages.previous(cpu, sp);
    const { nrZapped, listUnstable } = prepareZapPage(mmu, cpu, sp, list);
    total += nrZapped;
    if (total >= toZap) break;
    sp = oldestNonRoot(mmu, cpu, listUnstable ? activeMmuPages.last(cpu) : newer);
  }
  kvmMmuCommitZapPage(mmu, cpu, list);
  cpu.fetchAdd32(mmu.statistics.word("mmu_recycled"), total, "relaxed");
  return total;
}
