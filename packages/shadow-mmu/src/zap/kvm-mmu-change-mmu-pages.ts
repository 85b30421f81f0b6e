import type { Cpu } from "@kvm-age/machine";
import type { ShadowMmu } from "../shadow-mmu.js";
import { kvmMmuZapOldestMmuPages } from "./kvm-mmu-zap-oldest-mmu-pages.js";

/**
 * `kvm_mmu_change_mmu_pages`: sets the quota of shadow pages, and zaps the oldest if there are more. Roots that are
 * there keep it above the goal. Held: `slots_lock` or SRCU; takes `mmu_lock` for write.
 *
 * @param goal pages, an integer from 0
 */
export function kvmMmuChangeMmuPages(mmu: ShadowMmu, cpu: Cpu, goal: number): void {
  cpu.writeLock(mmu.mmuLock);
  const used = cpu.readOnce32(mmu.nUsedMmuPagesWord);
  if (used > goal) kvmMmuZapOldestMmuPages(mmu, cpu, used - goal);
  cpu.writeOnce32(mmu.nMaxMmuPagesWord, Math.max(goal, cpu.readOnce32(mmu.nUsedMmuPagesWord)));
  cpu.writeUnlock(mmu.mmuLock);
}
