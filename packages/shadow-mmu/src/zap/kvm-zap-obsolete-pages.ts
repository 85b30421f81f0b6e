import type { Cpu } from "@kvm-age/machine";
import { condReschedRwlockWrite } from "../lock/cond-resched-rwlock-write.js";
import { isObsoleteSp } from "../page/is-obsolete-sp.js";
import { NO_PAGE } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { InvalidList } from "./invalid-list.js";
import { kvmMmuCommitZapPage } from "./kvm-mmu-commit-zap-page.js";
import { prepareZapPage } from "./kvm-mmu-prepare-zap-page.js";

/** Pages zapped before the walk asks whether somebody waits (`BATCH_ZAP_PAGES`). */
export const BATCH_ZAP_PAGES = 10;

/**
 * `kvm_zap_obsolete_pages`: zaps every page of the generation that has ended. They are at the end of `active_mmu_pages`,
 * because new pages are put in front and only two generations exist. The flush of the commit serves to wait for lockless
 * walks: no vCPU enters through an obsolete root any more. Held: `slots_lock`, and `mmu_lock` for write, which is given
 * away in between.
 */
export function kvmZapObsoletePages(mmu: ShadowMmu, cpu: Cpu): void {
  cpu.lockdep.assertHeld(mmu.memslots.locks.slotsLock, "write");
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const { activeMmuPages } = mmu;
  const list = new InvalidList();
  let batch = 0;
  let sp = activeMmuPages.last(cpu);
  while (sp !== NO_PAGE && isObsoleteSp(mmu, cpu, sp)) {
    if (batch >= BATCH_ZAP_PAGES && condReschedRwlockWrite(mmu, cpu)) {
      batch = 0;
      sp = activeMmuPages.last(cpu);
      continue;
    }
    const newer = activeMmuPages.previous(cpu, sp);
    const { nrZapped, listUnstable } = prepareZapPage(mmu, cpu, sp, list);
    batch += nrZapped;
    sp = listUnstable ? activeMmuPages.last(cpu) : newer;
  }
  kvmMmuCommitZapPage(mmu, cpu, list);
}
