import type { Address, Cpu } from "@kvm-age/machine";
import { writeFloodingCountWord } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteGetLockless } from "../spte/mmu-spte-get-lockless.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { ShadowWalkIterator } from "../walk/shadow-walk-iterator.js";
import { walkShadowPageLocklessBegin, walkShadowPageLocklessEnd } from "./shadow-lockless-walk.js";

/**
 * `clear_sp_write_flooding_count`: the table that holds `sptep` is in use as a table. Held: `mmu_lock`, or a lockless walk is announced.
 * A count that is raised at the same moment is lost, or survives as 1: it decides only how soon a table is given up.
 */
export function clearSpWriteFloodingCount(mmu: ShadowMmu, cpu: Cpu, sptep: Address): void {
  cpu.writeOnce32(writeFloodingCountWord(sptepToSp(mmu, cpu, sptep)), 0);
}

/** `shadow_page_table_clear_flood`: the same for every table on the path of `addr`, by a lockless walk. */
export function shadowPageTableClearFlood(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, addr: number): void {
  walkShadowPageLocklessBegin(cpu, vcpu);
  const context = vcpu.current(cpu);
  const iterator = new ShadowWalkIterator(mmu, addr);
  iterator.start(cpu, context, context.rootHpa(cpu));
  while (iterator.okay()) {
    clearSpWriteFloodingCount(mmu, cpu, iterator.sptep);
    iterator.next(mmuSpteGetLockless(cpu, iterator.sptep));
  }
  walkShadowPageLocklessEnd(cpu, vcpu);
}
