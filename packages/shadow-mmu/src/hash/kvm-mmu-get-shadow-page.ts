import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { type Gfn, KVM_MAX_HUGEPAGE_LEVEL, type KvmMmuPageRole, roleDirect, roleLevel } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import {
  gfnWord,
  type KvmMmuPage,
  mmuValidGenWord,
  NO_PAGE,
  roleWord,
  shadowedTranslationWord,
  sptWord,
} from "../page/kvm-mmu-page.js";
import { spHasGptes } from "../page/sp-has-gptes.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { traceKvmMmuGetPage } from "../trace/trace-kvm-mmu-page.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { accountShadowed } from "./account-shadowed.js";
import { kvmMmuFindShadowPage } from "./kvm-mmu-find-shadow-page.js";
import { hashSp, kvmGetMmuPageHash } from "./page-hash.js";
import { type ShadowPageCaches, vcpuShadowPageCaches } from "./shadow-page-caches.js";

/** Takes descriptor, table and, for what records translations, their frame out of the caches. */
function takeFromCaches(
  mmu: ShadowMmu,
  cpu: Cpu,
  caches: ShadowPageCaches,
  role: KvmMmuPageRole,
): KvmMmuPage {
  const sp = caches.headers.allocate(cpu) as KvmMmuPage;
  const spt = caches.shadowPages.allocate(cpu);
  cpu.writeOnce32(sptWord(sp), spt);
  mmu.frames.writePrivate(cpu, spt, sp);
  if (!roleDirect(role) && roleLevel(role) <= KVM_MAX_HUGEPAGE_LEVEL) {
    if (caches.shadowedInfo === null)
      throw new ShadowPageCorruptionError("split into an indirect page", { role });
    cpu.writeOnce32(shadowedTranslationWord(sp), caches.shadowedInfo.allocate(cpu));
  }
  return sp;
}

function hashBucket(mmu: ShadowMmu, cpu: Cpu, gfn: Gfn): Address {
  const bucket = kvmGetMmuPageHash(mmu, cpu, gfn);
  if (bucket !== NULL_ADDRESS) return bucket;
  throw new ShadowPageCorruptionError("shadow page before the hash of shadow pages", { gfn });
}

/** `kvm_mmu_alloc_shadow_page`: a new page, on the list and in the hash, that nobody points to yet. */
function kvmMmuAllocShadowPage(
  mmu: ShadowMmu,
  cpu: Cpu,
  caches: ShadowPageCaches,
  gfn: Gfn,
  role: KvmMmuPageRole,
): KvmMmuPage {
  const bucket = hashBucket(mmu, cpu, gfn);
  const sp = takeFromCaches(mmu, cpu, caches, role);
  cpu.writeOnce32(mmuValidGenWord(sp), cpu.readOnce32(mmu.mmuValidGenWord));
  mmu.activeMmuPages.addFirst(cpu, sp);
  cpu.fetchAdd32(mmu.nUsedMmuPagesWord, 1, "relaxed");
  cpu.writeOnce(gfnWord(sp), BigInt(gfn));
  cpu.writeOnce32(roleWord(sp), role);
  hashSp(cpu, bucket, sp);
  if (spHasGptes(role)) accountShadowed(mmu, cpu, sp);
  return sp;
}

/**
 * `__kvm_mmu_get_shadow_page`: the valid page of this gfn and role, found or made. Held: `mmu_lock` for write, and SRCU or
 * `slots_lock`.
 *
 * @param vcpu for whom an unsync page is synchronised; null for direct roles
 * @throws CacheExhaustedError if the caches were not topped up.
 */
export function getShadowPageFromCaches(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu | null,
  caches: ShadowPageCaches,
  gfn: Gfn,
  role: KvmMmuPageRole,
): KvmMmuPage {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const found = kvmMmuFindShadowPage(mmu, cpu, vcpu, gfn, role);
  const sp = found === NO_PAGE ? kvmMmuAllocShadowPage(mmu, cpu, caches, gfn, role) : found;
  if (cpu.tracing) traceKvmMmuGetPage(mmu, cpu, sp, found === NO_PAGE);
  return sp;
}

/** `kvm_mmu_get_shadow_page`: the same with the vCPU's caches. */
export function kvmMmuGetShadowPage(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  gfn: Gfn,
  role: KvmMmuPageRole,
): KvmMmuPage {
  return getShadowPageFromCaches(mmu, cpu, vcpu, vcpuShadowPageCaches(vcpu), gfn, role);
}
