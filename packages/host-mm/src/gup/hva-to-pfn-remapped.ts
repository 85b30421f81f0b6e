import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import type { HvaToPfnRequest, HvaToPfnResult } from "@kvm-age/memslot";
import type { MmStruct } from "../mm/mm-struct.js";
import { PAGE_RW, ptePfn, pteSpecial } from "../page-table/pte.js";

/**
 * `hva_to_pfn_remapped`: the pfn of a mapping without page records, straight from its entry, which is always present; a write is refused with
 * `ro-fault` if the entry does not allow it. `fault` for every other mapping. There is no reference to hold the frame: whether the
 * pfn may be used is decided by the invalidation check alone, which the unmap of the frame goes through before it frees it.
 *
 * Such mappings alone have special entries, so the entry says what the kernel asks the VMA for, under the table's lock.
 */
export function hvaToPfnRemapped(
  mm: MmStruct,
  cpu: Cpu,
  index: number,
  request: HvaToPfnRequest,
): HvaToPfnResult {
  const pte = mm.pageTables.pteOffsetMapLock(cpu, index);
  if (pte === NULL_ADDRESS) return { error: "fault" };
  const entry = cpu.readOnce(pte);
  mm.pageTables.pteUnmapUnlock(cpu, pte);
  if (!pteSpecial(entry)) return { error: "fault" };
  const isWritable = (entry & PAGE_RW) !== 0n;
  if (request.write && !isWritable) return { error: "ro-fault" };
  return {
    error: null,
    pfn: ptePfn(entry),
    mapWritable: isWritable && (request.write || request.allowWritable),
  };
}
