import type { Address, Cpu } from "@kvm-age/machine";
import {
  type Gfn,
  kvmPagesPerHpage,
  makePaePdpte,
  PG_LEVEL_1G,
  PG_LEVEL_2M,
  PT64_ROOT_4LEVEL,
  roleLevel,
} from "@kvm-age/spte";
import { ShadowMmuConfigError } from "../errors.js";
import { spSpt } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { KvmMmu } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { makeMmuPagesAvailable } from "../zap/make-mmu-pages-available.js";
import { mmuAllocRoot } from "./mmu-alloc-root.js";
import { PAE_ROOT_ENTRIES, paeRootEntryWord } from "./pae-root.js";

/** Four tables of level 2, each for one GiB of guest memory. */
function allocPaeRoot(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, context: KvmMmu): Address {
  const paeRoot = cpu.readOnce32(context.paeRootWord) as Address;
  for (let index = 0; index < PAE_ROOT_ENTRIES; index++) {
    const gfn = (index * kvmPagesPerHpage(PG_LEVEL_1G)) as Gfn;
    const sp = mmuAllocRoot(mmu, cpu, vcpu, context, gfn, PG_LEVEL_2M);
    cpu.writeOnce(paeRootEntryWord(paeRoot, index), makePaePdpte(mmu.format, BigInt(spSpt(cpu, sp)), false));
  }
  return paeRoot;
}

/**
 * `mmu_alloc_direct_roots` without the TDP MMU: a root that maps guest memory linearly. Held: SRCU; takes `mmu_lock` for
 * write.
 *
 * @returns false if the quota of shadow pages is used up by roots (`-ENOSPC`)
 * @throws ShadowMmuConfigError if the VM's direct roots are the TDP MMU's.
 */
export function mmuAllocDirectRoots(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, context: KvmMmu): boolean {
  if (mmu.memslots.options.tdpMmuEnabled) {
    throw new ShadowMmuConfigError("direct root", true, "false where the TDP MMU makes direct roots");
  }
  const level = roleLevel(context.rootRole(cpu));
  cpu.writeLock(mmu.mmuLock);
  const available = makeMmuPagesAvailable(mmu, cpu);
  if (available) {
    const root =
      level >= PT64_ROOT_4LEVEL
        ? spSpt(cpu, mmuAllocRoot(mmu, cpu, vcpu, context, 0 as Gfn, level))
        : allocPaeRoot(mmu, cpu, vcpu, context);
    cpu.writeOnce32(context.rootHpaWord, root);
    cpu.writeOnce(context.rootPgdWord, 0n);
  }
  cpu.writeUnlock(mmu.mmuLock);
  return available;
}
