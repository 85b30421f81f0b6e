import type { Cpu } from "@kvm-age/machine";
import { condReschedRwlockWrite } from "../lock/cond-resched-rwlock-write.js";
import { NO_PAGE } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { InvalidList } from "./invalid-list.js";
import { kvmMmuCommitZapPage } from "./kvm-mmu-commit-zap-page.js";
import { kvmMmuPrepareZapPage } from "./kvm-mmu-prepare-zap-page.js";

/**
 * Shadow part of `kvm_mmu_zap_all`: zaps every page, when the VM or its memory goes. Held: `mmu_lock` for write, which is
 * given away in between, and SRCU.
 */
export function kvmMmuZapAll(mmu: ShadowMmu, cpu: Cpu): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const { activeMmuPages } = mmu;
  const list = new InvalidList();
  let sp = activeMmuPages.first(cpu);
  while (sp !== NO_PAGE) {
    const older = activeMmuPages.next(cpu, sp);
    const unstable = kvmMmuPrepareZapPage(mmu, cpu, sp, list);
    sp = unstable || condReschedRwlockWrite(mmu, cpu) ? activeMmuPages.first(cpu) : older;
  }
  kvmMmuCommitZapPage(mmu, cpu, list);
}
