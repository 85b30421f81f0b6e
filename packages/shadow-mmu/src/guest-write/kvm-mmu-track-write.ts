import type { Cpu } from "@kvm-age/machine";
import { type Gfn, isShadowPresentPte, type Spte } from "@kvm-age/spte";
import { forEachGfnValidSpWithGptes } from "../hash/for-each-gfn-valid-sp-with-gptes.js";
import { type KvmMmuPage, spSptep } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { InvalidList } from "../zap/invalid-list.js";
import { kvmMmuPrepareZapPage, mmuPageZapPte } from "../zap/kvm-mmu-prepare-zap-page.js";
import { kvmMmuRemoteFlushOrZap } from "../zap/kvm-mmu-remote-flush-or-zap.js";
import { detectWriteFlooding, detectWriteMisaligned } from "./detect-write.js";

const PAGE_BYTES = 4096;
const GPTE_BYTES = 8;

/** Zaps the entry that stands for the written one. Whether hardware may have used it. */
function zapWrittenSpte(
  mmu: ShadowMmu,
  cpu: Cpu,
  sp: KvmMmuPage,
  gpa: number,
  invalidList: InvalidList,
): boolean {
  const sptep = spSptep(cpu, sp, Math.floor((gpa % PAGE_BYTES) / GPTE_BYTES));
  const spte = cpu.readOnce(sptep) as Spte;
  const nested = mmu.format.rules.trackWriteZapsNestedChildren ? invalidList : null;
  mmuPageZapPte(mmu, cpu, sp, sptep, nested);
  return isShadowPresentPte(spte);
}

/** Under the lock: every page that shadows the written table forgets the entry, or is given up. */
function trackWrite(mmu: ShadowMmu, cpu: Cpu, gpa: number, bytes: number): void {
  const invalidList = new InvalidList();
  let flush = false;
  forEachGfnValidSpWithGptes(mmu, cpu, Math.floor(gpa / PAGE_BYTES) as Gfn, (sp) => {
    if (detectWriteMisaligned(gpa, bytes) || detectWriteFlooding(cpu, sp)) {
      kvmMmuPrepareZapPage(mmu, cpu, sp, invalidList);
      cpu.fetchAdd32(mmu.statistics.word("mmu_flooded"), 1, "relaxed");
    } else if (zapWrittenSpte(mmu, cpu, sp, gpa, invalidList)) {
      flush = true;
    }
  });
  kvmMmuRemoteFlushOrZap(mmu, cpu, invalidList, flush);
}

/**
 * `kvm_mmu_track_write`: somebody other than a guest processor has written guest memory: shadow pages of the tables that were written
 * follow. Called after the memory was written. A write of half an entry counts as one of the whole: guests with PAE write
 * their entries in halves. Held: SRCU; never `mmu_lock`.
 *
 * The barrier orders the write before the read of `indirect_shadow_pages`; it pairs with the one between a new page's increment of that
 * counter and the second look at the guest's entries (`gpteChanged`). Either this finds the counter raised and waits for the lock, or
 * the fault that makes the page sees what was written.
 *
 * @param gpa in bytes, an integer in [0, 2^53)
 * @param bytes 1 or more, within one page
 */
export function kvmMmuTrackWrite(mmu: ShadowMmu, cpu: Cpu, gpa: number, bytes: number): void {
  cpu.smpMb();
  if (cpu.readOnce32(mmu.indirectShadowPagesWord) === 0) return;
  cpu.writeLock(mmu.mmuLock);
  cpu.fetchAdd32(mmu.statistics.word("mmu_pte_write"), 1, "relaxed");
  if (bytes === GPTE_BYTES / 2) trackWrite(mmu, cpu, gpa - (gpa % GPTE_BYTES), GPTE_BYTES);
  else trackWrite(mmu, cpu, gpa, bytes);
  cpu.writeUnlock(mmu.mmuLock);
}
