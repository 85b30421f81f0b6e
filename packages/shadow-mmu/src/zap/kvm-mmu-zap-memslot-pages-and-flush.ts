import type { Cpu } from "@kvm-age/machine";
import { type Slot, slotBaseGfn, slotNpages } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";
import { forEachGfnValidSpWithGptes } from "../hash/for-each-gfn-valid-sp-with-gptes.js";
import { condReschedRwlockWrite, mmuLockNeedsBreak } from "../lock/cond-resched-rwlock-write.js";
import { NO_PAGE } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { InvalidList } from "./invalid-list.js";
import { kvmMmuPrepareZapPage } from "./kvm-mmu-prepare-zap-page.js";
import { kvmMmuRemoteFlushOrZap } from "./kvm-mmu-remote-flush-or-zap.js";

/**
 * `kvm_mmu_zap_memslot_pages_and_flush`: before a slot goes, zaps what shadows guest tables in it, because it is accounted
 * in the slot. Held: `slots_lock`, and `mmu_lock` for write, which is given away in between.
 *
 * @param flush translations of the slot were removed and not flushed yet: done here
 */
export function kvmMmuZapMemslotPagesAndFlush(mmu: ShadowMmu, cpu: Cpu, slot: Slot, flush: boolean): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const list = new InvalidList();
  let pending = flush;
  const anyPages = mmu.activeMmuPages.first(cpu) !== NO_PAGE;
  const start = slotBaseGfn(cpu, slot);
  const end = anyPages ? start + slotNpages(cpu, slot) : start;
  for (let gfn = start as number; gfn < end; gfn++) {
    forEachGfnValidSpWithGptes(mmu, cpu, gfn as Gfn, (sp) => kvmMmuPrepareZapPage(mmu, cpu, sp, list));
    if (!mmuLockNeedsBreak(mmu, cpu)) continue;
    kvmMmuRemoteFlushOrZap(mmu, cpu, list, pending);
    pending = false;
    condReschedRwlockWrite(mmu, cpu);
  }
  kvmMmuRemoteFlushOrZap(mmu, cpu, list, pending);
}
