import type { Address, Cpu } from "@kvm-age/machine";
import { NULL_SLOT, type Slot } from "@kvm-age/memslot";
import {
  type KvmPageFault,
  makeLeafSpte,
  makeNoSlotSpte,
  RetPf,
  traceKvmMmuSetSpte,
  traceMarkMmioSpte,
} from "@kvm-age/page-fault";
import {
  type Gfn,
  isLargePte,
  isLastSpte,
  isShadowPresentPte,
  type Pfn,
  PG_LEVEL_4K,
  roleDirect,
  roleLevel,
  type Spte,
  spteToPfn,
} from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import { flushRemoteTlbsGfn } from "../flush/flush-remote-tlbs-gfn.js";
import { rmapAdd } from "../leaf-rmap/rmap-add.js";
import { dropParentPte } from "../link/drop-parent-pte.js";
import { type KvmMmuPage, spRole, sptepIndex } from "../page/kvm-mmu-page.js";
import { sptepToSp, spteToChildSp } from "../page/sptep-to-sp.js";
import { kvmMmuPageGetGfn, kvmMmuPageSetAccess } from "../page/translation.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { dropSpte } from "../spte/drop-spte.js";
import { mmuSpteSet } from "../spte/mmu-spte-set.js";
import { mmuSpteUpdate } from "../spte/mmu-spte-update.js";
import { ShadowTracker } from "../unsync/shadow-tracker.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";

/** What becomes of the entry that a leaf is to replace. */
type OldEntry = "none" | "removed" | "same-page";

/**
 * Removes what the entry holds unless it is a leaf of the page that is wanted.
 *
 * @throws ShadowPageCorruptionError if a linear table maps another page: the host's change should have zapped it.
 */
function removeOther(
  mmu: ShadowMmu,
  cpu: Cpu,
  sp: KvmMmuPage,
  slot: Slot,
  sptep: Address,
  oldSpte: Spte,
  gfn: Gfn,
  pfn: Pfn,
): OldEntry {
  if (!isShadowPresentPte(oldSpte)) return "none";
  const role = spRole(cpu, sp);
  if (roleLevel(role) > PG_LEVEL_4K && !isLargePte(oldSpte)) {
    dropParentPte(mmu, cpu, spteToChildSp(mmu, cpu, oldSpte), sptep);
    return "removed";
  }
  const samePfn = slot !== NULL_SLOT && spteToPfn(mmu.format, oldSpte) === pfn;
  if (samePfn && kvmMmuPageGetGfn(mmu, cpu, sp, sptepIndex(sptep)) === gfn) return "same-page";
  if (slot !== NULL_SLOT && roleDirect(role)) {
    throw new ShadowPageCorruptionError("another page without a zap", { sptep, oldSpte, pfn });
  }
  dropSpte(mmu, cpu, sptep);
  return "removed";
}

/** `mark_mmio_spte`: caches that there is no slot. */
function markMmioSpte(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  sptep: Address,
  gfn: Gfn,
  access: number,
): RetPf {
  cpu.fetchAdd32(mmu.statistics.word("pf_mmio_spte_created"), 1, "relaxed");
  const spte = makeNoSlotSpte(mmu, cpu, cpu.readOnce32(vcpu.inSmmWord), gfn, access);
  if (cpu.tracing) traceMarkMmioSpte(mmu.format, cpu, sptep, gfn, spte);
  mmuSpteSet(mmu, cpu, sptep, spte);
  return RetPf.emulate;
}

/** One leaf to be installed. */
interface NewLeaf {
  readonly sp: KvmMmuPage;
  readonly slot: Slot;
  readonly sptep: Address;
  readonly access: number;
  readonly gfn: Gfn;
  readonly pfn: Pfn;
  /** null for a prefetch, whose page the host maps writable. */
  readonly fault: KvmPageFault | null;
}

/** Installs the leaf; `flush` if what was there is still to be flushed. */
function setLeaf(mmu: ShadowMmu, cpu: Cpu, leaf: NewLeaf, flush: boolean): RetPf {
  const { sp, slot, sptep, gfn, pfn, fault } = leaf;
  const role = spRole(cpu, sp);
  const level = roleLevel(role);
  const oldSpte = cpu.readOnce(sptep) as Spte;
  const { spte, wrprot } = makeLeafSpte(mmu, cpu, new ShadowTracker(mmu), {
    role,
    level,
    slot,
    gfn,
    pfn,
    oldSpte,
    prefetch: fault === null || fault.prefetch,
    synchronizing: false,
    hostWritable: fault === null || fault.mapWritable,
    pteAccess: leaf.access,
  });
  const spurious = spte === oldSpte;
  let flushDue = flush;
  if (!spurious) {
    flushDue = mmuSpteUpdate(mmu, cpu, sptep, spte) || flushDue;
    if (cpu.tracing) traceKvmMmuSetSpte(mmu.format, cpu, level, gfn, sptep);
  }
  if (flushDue) flushRemoteTlbsGfn(mmu, cpu, gfn, level);
  if (wrprot && fault?.write) return RetPf.writeProtected;
  return spurious ? RetPf.spurious : RetPf.fixed;
}

/**
 * `mmu_set_spte`: maps one page at an entry, or caches that there is none. Held: `mmu_lock` for write, after the invalidation check. A
 * flush that is due is done.
 *
 * An entry that is present although there is no slot, or maps another page, or another gfn with the same page, is removed first. Writes to
 * guest memory that KVM does not see, by the owner or a device, or to a table that is unsync, can lead an entry of a guest's table
 * anywhere. (The kernel keeps an entry whose host page is the same, on the list of the gfn it was made for.)
 *
 * @param slot of `gfn`; `NULL_SLOT` for an access outside every slot
 * @param pteAccess what the guest's own translation allows, in the rule set's access bits
 * @param gfn first frame of the page, at the entry's level
 * @param pfn host frame of `gfn`
 * @param fault null for a prefetch of a page that the host maps writable
 * @returns `fixed`; `spurious` if the entry was right; `writeProtected` if a write must be emulated; `emulate` outside every slot
 * @throws ShadowPageCorruptionError
 */
export function mmuSetSpte(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  slot: Slot,
  sptep: Address,
  pteAccess: number,
  gfn: Gfn,
  pfn: Pfn,
  fault: KvmPageFault | null,
): RetPf {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const sp = sptepToSp(mmu, cpu, sptep);
  const level = roleLevel(spRole(cpu, sp));
  const oldSpte = cpu.readOnce(sptep) as Spte;
  const samePage = slot !== NULL_SLOT && isShadowPresentPte(oldSpte) && isLastSpte(oldSpte, level);
  if ((fault === null || fault.prefetch) && samePage && spteToPfn(mmu.format, oldSpte) === pfn) {
    return RetPf.spurious;
  }
  const old = removeOther(mmu, cpu, sp, slot, sptep, oldSpte, gfn, pfn);
  if (slot === NULL_SLOT) {
    const result = markMmioSpte(mmu, cpu, vcpu, sptep, gfn, pteAccess);
    if (old === "removed") flushRemoteTlbsGfn(mmu, cpu, gfn, level);
    return result;
  }
  const leaf = { sp, slot, sptep, access: pteAccess, gfn, pfn, fault };
  const result = setLeaf(mmu, cpu, leaf, old === "removed");
  if (old === "same-page") kvmMmuPageSetAccess(mmu, cpu, sp, sptepIndex(sptep), pteAccess);
  else rmapAdd(mmu, cpu, vcpu.pteListDescCache, slot, sptep, gfn, pteAccess);
  return result;
}
