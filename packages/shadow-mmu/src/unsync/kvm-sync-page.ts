import type { Cpu } from "@kvm-age/machine";
import { makeRole, type PG_LEVEL_4K, type RuleSet, roleDirect, SHADOW_NONPRESENT_VALUE } from "@kvm-age/spte";
import { type KvmMmuPage, SPTE_ENT_PER_PAGE, spRole, spSptep } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { KvmMmu } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import type { InvalidList } from "../zap/invalid-list.js";
import { kvmMmuPrepareZapPage } from "../zap/kvm-mmu-prepare-zap-page.js";
import { syncSpte } from "./sync-spte.js";

/**
 * Bits of the role word in which a page may differ from the root it is synchronised under: level, access, quadrant,
 * passthrough.
 */
function syncRoleIgnored(rules: RuleSet): number {
  const level = 15 as typeof PG_LEVEL_4K;
  return makeRole(rules, { level, access: rules.accAll, quadrant: 3, passthrough: true });
}

/** `kvm_sync_page_check`: the context's guest format is that of the page. */
function kvmSyncPageCheck(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu, sp: KvmMmuPage): boolean {
  const role = spRole(cpu, sp);
  if (roleDirect(role)) return false;
  return ((role ^ context.rootRole(cpu)) & ~syncRoleIgnored(mmu.format.rules)) === 0;
}

/** `__kvm_sync_page`: -1 if the page cannot be synchronised, 1 if translations must be flushed, else 0. */
function syncEntries(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, sp: KvmMmuPage): number {
  const context = vcpu.current(cpu);
  if (!kvmSyncPageCheck(mmu, cpu, context, sp)) return -1;
  let flush = 0;
  for (let index = 0; index < SPTE_ENT_PER_PAGE; index++) {
    if (cpu.readOnce(spSptep(cpu, sp, index)) === SHADOW_NONPRESENT_VALUE) continue;
    const result = syncSpte(mmu, cpu, vcpu, context, sp, index);
    if (result < 0) return -1;
    flush |= result;
  }
  return flush;
}

/**
 * `kvm_sync_page`: brings every entry of an unsync page in line with the guest's, by the rules of the vCPU's current
 * context. The mark and the write protection are the caller's. Held: `mmu_lock` for write, and SRCU.
 *
 * @returns negative if that is impossible, and the page is on the list; positive if the caller must flush; 0 otherwise
 */
export function kvmSyncPage(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  sp: KvmMmuPage,
  list: InvalidList,
): number {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const result = syncEntries(mmu, cpu, vcpu, sp);
  if (result < 0) kvmMmuPrepareZapPage(mmu, cpu, sp, list);
  return result;
}
