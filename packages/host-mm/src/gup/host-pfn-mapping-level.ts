import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { PG_LEVEL_2M, PG_LEVEL_4K, type PgLevel } from "@kvm-age/spte";
import type { MmStruct } from "../mm/mm-struct.js";
import { hvaToIndex, isInMappingWindow } from "../page-table/mapping-window.js";
import { pmdTransHuge } from "../page-table/pte.js";

/**
 * `host_pfn_mapping_level`: 2 if a 2 MiB leaf maps `hva`, else 1. Reads each level once, in a read section; the answer may be stale at once, which the
 * caller's invalidation check covers.
 */
export function hostPfnMappingLevel(mm: MmStruct, cpu: Cpu, hva: number): PgLevel {
  if (!isInMappingWindow(hva)) return PG_LEVEL_4K;
  cpu.rcuReadLock();
  const pmd = mm.pageTables.pmdOffset(cpu, hvaToIndex(hva));
  const isLeaf = pmd !== NULL_ADDRESS && pmdTransHuge(cpu.readOnce(pmd));
  cpu.rcuReadUnlock();
  return isLeaf ? PG_LEVEL_2M : PG_LEVEL_4K;
}
