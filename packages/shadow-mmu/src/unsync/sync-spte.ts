import type { Address, Cpu } from "@kvm-age/machine";
import { NULL_SLOT } from "@kvm-age/memslot";
import { makeLeafSpte, makeNoSlotSpte, traceMarkMmioSpte } from "@kvm-age/page-fault";
import {
  type Gfn,
  getMmioSpteGfn,
  isMmioSpte,
  kvmMmuRoleAsId,
  PG_LEVEL_4K,
  roleAccess,
  SHADOW_NONPRESENT_VALUE,
  type Spte,
  spteToPfn,
} from "@kvm-age/spte";
import {
  type Gpte,
  gpteAccess,
  gpteToGfn,
  isPrefetchInvalidGpte,
  protectCleanGpte,
} from "../guest-walk/gpte.js";
import { type GuestWalker, walkerOf } from "../guest-walk/guest-walker.js";
import { kvmVcpuReadGuest } from "../guest-walk/kvm-vcpu-read-guest.js";
import { type KvmMmuPage, spGfn, spRole, spSptep } from "../page/kvm-mmu-page.js";
import { kvmMmuPageGetAccess, kvmMmuPageGetGfn, kvmMmuPageSetAccess } from "../page/translation.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { dropSpte } from "../spte/drop-spte.js";
import { mmuSpteClearNoTrack } from "../spte/mmu-spte-clear-no-track.js";
import { mmuSpteSet } from "../spte/mmu-spte-set.js";
import { mmuSpteUpdate } from "../spte/mmu-spte-update.js";
import type { KvmMmu } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { ShadowTracker } from "./shadow-tracker.js";

const PAGE_BYTES = 4096;
const GPTE_BYTES = 8;

/** What the guest's entry allows below the table's own limits. */
function accessOfGpte(mmu: ShadowMmu, cpu: Cpu, walker: GuestWalker, sp: KvmMmuPage, gpte: Gpte): number {
  const { format } = mmu;
  const access = roleAccess(format.rules, spRole(cpu, sp)) & gpteAccess(format, walker, gpte);
  return protectCleanGpte(format, walker, access, gpte);
}

/**
 * `sync_mmio_spte`: an entry that caches "no slot" is rewritten for the same gfn, for today's slots and access, or given up.
 *
 * Given up as well if a slot has come to be there: the kernel rewrites such an entry, too, whose new generation then says
 * that it may be believed, so that every access is emulated although there is memory.
 */
function syncMmioSpte(
  mmu: ShadowMmu,
  cpu: Cpu,
  sp: KvmMmuPage,
  sptep: Address,
  gfn: Gfn,
  access: number,
): void {
  const { format, memslots } = mmu;
  const spte = cpu.readOnce(sptep) as Spte;
  const asId = kvmMmuRoleAsId(spRole(cpu, sp));
  if (getMmioSpteGfn(format, spte) !== gfn || memslots.gfnToMemslot(cpu, asId, gfn) !== NULL_SLOT) {
    mmuSpteClearNoTrack(mmu, cpu, sptep);
    return;
  }
  const marked = makeNoSlotSpte(mmu, cpu, asId, gfn, access);
  if (cpu.tracing) traceMarkMmioSpte(format, cpu, sptep, gfn, marked);
  mmuSpteSet(mmu, cpu, sptep, marked);
}

/** Gives a present leaf the access that the guest's entry allows now. Whether a flush is due. */
function updateAccess(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  sp: KvmMmuPage,
  sptep: Address,
  gfn: Gfn,
  access: number,
): boolean {
  const { format } = mmu;
  const oldSpte = cpu.readOnce(sptep) as Spte;
  const { spte } = makeLeafSpte(mmu, cpu, new ShadowTracker(mmu), {
    role: spRole(cpu, sp),
    level: PG_LEVEL_4K,
    slot: mmu.memslots.gfnToMemslot(cpu, cpu.readOnce32(vcpu.inSmmWord), gfn),
    gfn,
    pfn: spteToPfn(format, oldSpte),
    oldSpte,
    prefetch: true,
    synchronizing: true,
    hostWritable: BigInt.asUintN(64, oldSpte & format.shadowHostWritableMask) !== 0n,
    pteAccess: access,
  });
  return mmuSpteUpdate(mmu, cpu, sptep, spte);
}

/** Whether an entry of this access could not be told from a non-present one (EPT without any permission). */
function leavesNothingPresent(mmu: ShadowMmu, access: number): boolean {
  return (BigInt(access) | mmu.format.shadowPresentMask) === SHADOW_NONPRESENT_VALUE;
}

/**
 * `sync_spte`: makes one entry of a 4 KiB-level shadow page agree with the guest's entry again. The guest entry is read
 * here, and the guest may change it at any time: then it owes another flush, which brings us back. Held: `mmu_lock` for
 * write, SRCU.
 *
 * @param context the context in use, whose guest tables `sp` shadows
 * @param index of an entry that is not `SHADOW_NONPRESENT_VALUE`
 * @returns -1 if the guest's entry cannot be read: the page must be zapped; 1 if a flush is due; 0 if not
 */
export function syncSpte(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  sp: KvmMmuPage,
  index: number,
): number {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const walker = walkerOf(mmu, cpu, context);
  const sptep = spSptep(cpu, sp, index);
  const gpte = kvmVcpuReadGuest(mmu, cpu, vcpu, spGfn(cpu, sp) * PAGE_BYTES + index * GPTE_BYTES, true);
  if (gpte === null) return -1;
  if (isPrefetchInvalidGpte(mmu.format, walker, gpte)) {
    dropSpte(mmu, cpu, sptep);
    return 1;
  }
  const gfn = gpteToGfn(gpte);
  const access = accessOfGpte(mmu, cpu, walker, sp, gpte);
  if (isMmioSpte(mmu.format, cpu.readOnce(sptep) as Spte)) {
    syncMmioSpte(mmu, cpu, sp, sptep, gfn, access);
    return 0;
  }
  if (leavesNothingPresent(mmu, access) || gfn !== kvmMmuPageGetGfn(mmu, cpu, sp, index)) {
    dropSpte(mmu, cpu, sptep);
    return 1;
  }
  if (access === kvmMmuPageGetAccess(mmu, cpu, sp, index)) return 0;
  // First the record, then the entry: whoever holds the lock next finds both.
  kvmMmuPageSetAccess(mmu, cpu, sp, index, access);
  return updateAccess(mmu, cpu, vcpu, sp, sptep, gfn, access) ? 1 : 0;
}
