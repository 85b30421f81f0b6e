import type { Cpu } from "@kvm-age/machine";
import { kvmGfnIsWriteTracked, lpageInfoDisallowed, NULL_SLOT, type Slot, slotAsId } from "@kvm-age/memslot";
import { type Gfn, PG_LEVEL_2M, PG_LEVEL_4K, roleLevel } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import { nextGfnValidSpWithGptes } from "../hash/for-each-gfn-valid-sp-with-gptes.js";
import { type KvmMmuPage, NO_PAGE, spGfn, spRole, unsyncWord } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { traceKvmMmuUnsyncPage } from "../trace/trace-kvm-mmu-page.js";
import { kvmMmuMarkParentsUnsync } from "./mark-unsync.js";

const EPERM = 1;
const EEXIST = 17;

/**
 * `kvm_unsync_page`: from now on the page may differ from the guest's table. Held: `mmu_unsync_pages_lock`, or `mmu_lock`
 * for write.
 *
 * @throws ShadowPageCorruptionError for a table above 4 KiB, whose gfn is write-tracked.
 */
export function kvmUnsyncPage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  const level = roleLevel(spRole(cpu, sp));
  if (level !== PG_LEVEL_4K) {
    throw new ShadowPageCorruptionError("only tables of level 1 may be unsync", {
      gfn: spGfn(cpu, sp),
      level,
    });
  }
  if (cpu.tracing) traceKvmMmuUnsyncPage(mmu, cpu, sp);
  cpu.fetchAdd32(mmu.statistics.word("mmu_unsync"), 1, "relaxed");
  cpu.writeOnce32(unsyncWord(sp), 1);
  kvmMmuMarkParentsUnsync(mmu, cpu, sp);
}

/** Whether a 2 MiB page is allowed at `gfn` in both address spaces, which every shadowed table forbids around itself. */
function lpageAllowedEverywhere(mmu: ShadowMmu, cpu: Cpu, slot: Slot, gfn: Gfn): boolean {
  if (lpageInfoDisallowed(cpu, slot, gfn, PG_LEVEL_2M)) return false;
  const { memslots } = mmu;
  if (memslots.nrAddressSpaces === 1) return true;
  const other = memslots.gfnToMemslot(cpu, 1 - slotAsId(cpu, slot), gfn);
  return other === NULL_SLOT || !lpageInfoDisallowed(cpu, other, gfn, PG_LEVEL_2M);
}

/** The next page of the gfn that is not marked yet, behind `previous`; `NO_PAGE` at the end. */
function nextSynced(mmu: ShadowMmu, cpu: Cpu, gfn: Gfn, previous: KvmMmuPage): KvmMmuPage {
  let sp = nextGfnValidSpWithGptes(mmu, cpu, gfn, previous);
  while (sp !== NO_PAGE && cpu.readOnce32(unsyncWord(sp)) !== 0) {
    sp = nextGfnValidSpWithGptes(mmu, cpu, gfn, sp);
  }
  return sp;
}

/** Marks every page of the gfn unsync that is not, `first` being the first seen so. */
function unsyncPages(mmu: ShadowMmu, cpu: Cpu, gfn: Gfn, first: KvmMmuPage): void {
  cpu.spinLock(mmu.unsyncPagesLock);
  // Other holders of `mmu_lock` for read may have marked it before the lock was taken; none can while it is held, and
  // nobody takes a mark away without `mmu_lock` for write.
  if (cpu.readOnce32(unsyncWord(first)) === 0) kvmUnsyncPage(mmu, cpu, first);
  let sp = nextSynced(mmu, cpu, gfn, first);
  for (; sp !== NO_PAGE; sp = nextSynced(mmu, cpu, gfn, sp)) kvmUnsyncPage(mmu, cpu, sp);
  cpu.spinUnlock(mmu.unsyncPagesLock);
}

/** Whether and why the gfn must stay write-protected, and if not, the first page that must be marked. */
function unsyncVerdict(
  mmu: ShadowMmu,
  cpu: Cpu,
  gfn: Gfn,
  synchronizing: boolean,
  prefetch: boolean,
): { readonly errno: number; readonly firstSynced: KvmMmuPage } {
  // An entry of an unsync page that is being synchronised must not make another shadowed table writable.
  if (synchronizing && nextGfnValidSpWithGptes(mmu, cpu, gfn, NO_PAGE) !== NO_PAGE) {
    return { errno: -EPERM, firstSynced: NO_PAGE };
  }
  const firstSynced = nextSynced(mmu, cpu, gfn, NO_PAGE);
  return { errno: prefetch && firstSynced !== NO_PAGE ? -EEXIST : 0, firstSynced };
}

/**
 * `mmu_try_to_unsync_pages`: asked before an entry for `gfn` becomes writable. Marks every page that shadows a table there
 * unsync, or refuses. Held: `mmu_lock` for read at least.
 *
 * @param synchronizing an unsync page is being synchronised: nothing more may become unsync
 * @param prefetch nobody has written yet: no page is marked
 * @returns 0 if the entry may be writable; -1 (`-EPERM`) or -17 (`-EEXIST`) if it must be write-protected
 */
export function mmuTryToUnsyncPages(
  mmu: ShadowMmu,
  cpu: Cpu,
  slot: Slot,
  gfn: Gfn,
  synchronizing: boolean,
  prefetch: boolean,
): number {
  cpu.lockdep.assertHeld(mmu.mmuLock, "any");
  if (kvmGfnIsWriteTracked(mmu.memslots, cpu, slot, gfn)) return -EPERM;
  if (mmu.format.rules.unsyncTrustsLpageInfo && lpageAllowedEverywhere(mmu, cpu, slot, gfn)) return 0;
  const { errno, firstSynced } = unsyncVerdict(mmu, cpu, gfn, synchronizing, prefetch);
  if (errno !== 0) return errno;
  if (firstSynced !== NO_PAGE) unsyncPages(mmu, cpu, gfn, firstSynced);
  // Pairs with the read barrier in `isUnsyncRoot`: a processor that has walked through the entry as writable sees the marks.
  cpu.smpWmb();
  return 0;
}
