import type { Cpu } from "@kvm-age/machine";
import { type Gfn, type KvmMmuPageRole, PG_LEVEL_4K, roleDirect, roleLevel } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import { isObsoleteSp } from "../page/is-obsolete-sp.js";
import {
  type KvmMmuPage,
  NO_PAGE,
  spGfn,
  spRole,
  unsyncWord,
  writeFloodingCountWord,
} from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { kvmSyncPage } from "../unsync/kvm-sync-page.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { InvalidList } from "../zap/invalid-list.js";
import { kvmMmuCommitZapPage } from "../zap/kvm-mmu-commit-zap-page.js";
import { kvmMmuPrepareZapPage } from "../zap/kvm-mmu-prepare-zap-page.js";
import { firstHashedSp, nextHashedSp } from "./page-hash.js";

/** One search through a bucket. */
interface Search {
  readonly gfn: Gfn;
  readonly role: KvmMmuPageRole;
  readonly invalidList: InvalidList;
  collisions: number;
}

/**
 * The next valid page of the wanted gfn and role, or `NO_PAGE`; what cannot live beside the wanted page is prepared for
 * zapping.
 */
function nextMatch(mmu: ShadowMmu, cpu: Cpu, search: Search, from: KvmMmuPage): KvmMmuPage {
  const { gfn, role, invalidList } = search;
  for (let sp = from; sp !== NO_PAGE; sp = nextHashedSp(cpu, sp)) {
    if (isObsoleteSp(mmu, cpu, sp)) continue;
    if (spGfn(cpu, sp) !== gfn) {
      search.collisions++;
      continue;
    }
    if (spRole(cpu, sp) === role) return sp;
    // The table is about to be used above 4 KiB too, where nothing may be unsync: its gfn becomes write-tracked.
    const isUnsync = roleLevel(role) > PG_LEVEL_4K && cpu.readOnce32(unsyncWord(sp)) !== 0;
    if (isUnsync) kvmMmuPrepareZapPage(mmu, cpu, sp, invalidList);
  }
  return NO_PAGE;
}

/**
 * Makes a matching page fit for use: synchronises it if it is unsync, which leaves it so, and forgets its write flooding.
 * False if the guest's table is no longer what the page shadows; it is prepared for zapping then.
 */
function prepareMatch(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu | null,
  sp: KvmMmuPage,
  invalidList: InvalidList,
): boolean {
  if (roleDirect(spRole(cpu, sp))) return true;
  if (cpu.readOnce32(unsyncWord(sp)) !== 0) {
    if (vcpu === null) {
      throw new ShadowPageCorruptionError("an unsync page was found without a vCPU to synchronise it for", {
        gfn: spGfn(cpu, sp),
        role: spRole(cpu, sp),
      });
    }
    const result = kvmSyncPage(mmu, cpu, vcpu, sp, invalidList);
    if (result < 0) return false;
    if (result > 0) cpu.flushRemoteTlbs(mmu.flushDomain, null);
  }
  cpu.writeOnce32(writeFloodingCountWord(sp), 0);
  return true;
}

function recordCollisions(mmu: ShadowMmu, cpu: Cpu, collisions: number): void {
  const word = mmu.statistics.word("max_mmu_page_hash_collisions");
  if (collisions > cpu.readOnce32(word)) cpu.writeOnce32(word, collisions);
}

/**
 * `kvm_mmu_find_shadow_page`: the valid page of this gfn and role, ready for use, or `NO_PAGE`, which counts as a cache
 * miss. Held: `mmu_lock` for write.
 *
 * @param vcpu for whom an unsync page is synchronised; null for direct roles, whose pages never are
 * @throws ShadowPageCorruptionError for an unsync page without a vCPU.
 */
export function kvmMmuFindShadowPage(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu | null,
  gfn: Gfn,
  role: KvmMmuPageRole,
): KvmMmuPage {
  const search: Search = { gfn, role, invalidList: new InvalidList(), collisions: 0 };
  let sp = nextMatch(mmu, cpu, search, firstHashedSp(mmu, cpu, gfn));
  if (sp !== NO_PAGE && !prepareMatch(mmu, cpu, vcpu, sp, search.invalidList)) sp = NO_PAGE;
  if (sp === NO_PAGE) cpu.fetchAdd32(mmu.statistics.word("mmu_cache_miss"), 1, "relaxed");
  kvmMmuCommitZapPage(mmu, cpu, search.invalidList);
  recordCollisions(mmu, cpu, search.collisions);
  return sp;
}
