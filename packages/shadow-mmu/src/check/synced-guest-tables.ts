import type { Cpu } from "@kvm-age/machine";
import { type Gfn, kvmMmuRoleAsId, roleInvalid } from "@kvm-age/spte";
import { NO_PAGE, spGfn, spRole, unsyncWord } from "../page/kvm-mmu-page.js";
import { spHasGptes } from "../page/sp-has-gptes.js";
import type { ShadowMmu } from "../shadow-mmu.js";

/** A frame of guest memory with a page table that is shadowed and in sync. */
export interface SyncedGuestTable {
  readonly asId: number;
  readonly gfn: Gfn;
}

/**
 * The guest frames that nobody may have write access to, because a shadow page that is in sync stands for what they hold
 * (§16.3). At rest, or under `mmu_lock` held for write. A frame is named once for each such page.
 */
export function syncedGuestTables(mmu: ShadowMmu, cpu: Cpu): SyncedGuestTable[] {
  const tables: SyncedGuestTable[] = [];
  for (let sp = mmu.activeMmuPages.first(cpu); sp !== NO_PAGE; sp = mmu.activeMmuPages.next(cpu, sp)) {
    const role = spRole(cpu, sp);
    if (!spHasGptes(role) || roleInvalid(mmu.format.rules, role)) continue;
    if (cpu.readOnce32(unsyncWord(sp)) !== 0) continue;
    tables.push({ asId: kvmMmuRoleAsId(role), gfn: spGfn(cpu, sp) });
  }
  return tables;
}
