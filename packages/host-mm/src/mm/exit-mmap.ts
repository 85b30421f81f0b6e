import type { Cpu } from "@kvm-age/machine";
import { MAPPING_WINDOW_PAGES } from "../page-table/mapping-window.js";
import { freePageTables } from "./free-page-tables.js";
import type { MmStruct } from "./mm-struct.js";
import { MmuGather } from "./mmu-gather.js";
import { zapPageRange } from "./zap-page-range.js";

/**
 * `exit_mmap`: releases the notifiers once, then unmaps everything. The upper page tables stay. A second call does nothing. Nothing else may
 * operate on the address space any more.
 */
export function exitMmap(mm: MmStruct, cpu: Cpu): void {
  // One exchange decides which of two callers releases.
  if (cpu.xchg32(mm.exitedWord, 1, "full") !== 0) return;
  mm.notifiers.release(cpu);
  const gather = new MmuGather(mm.frameRecords);
  cpu.writeLock(mm.mmapLock);
  try {
    for (let vma = mm.vmas.count(cpu) - 1; vma >= 0; vma--) {
      zapPageRange(mm, cpu, mm.vmas.start(cpu, vma), mm.vmas.end(cpu, vma), gather);
      mm.vmas.remove(cpu, vma);
    }
    freePageTables(mm, cpu, 0, MAPPING_WINDOW_PAGES + 1, gather);
    gather.finish(cpu);
  } finally {
    cpu.writeUnlock(mm.mmapLock);
  }
}
