import type { Cpu } from "@kvm-age/machine";
import type { ReleaseHow } from "@kvm-age/memslot";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioMarkAccessed } from "../page/folio-mark-accessed.js";
import { folioMarkDirty } from "../page/folio-mark-dirty.js";
import { folioPut } from "../page/folio-put.js";
import { pageFolio } from "../page/folio-reference.js";
import { FIRST_HOST_PFN } from "../page/mem-map.js";

/**
 * `kvm_release_page_unused`, `_clean`, `_dirty`: drops the reference of a lookup. A page that was used is marked accessed, one that was mapped writable also
 * dirty, before the reference goes. Pfns below the host's pages are frames of backed memory, which have no reference count: nothing to do.
 *
 * @throws ForeignPfnError if `pfn` is no host page, PageReferenceError if nobody holds it.
 */
export function releasePage(mm: MmStruct, cpu: Cpu, pfn: number, how: ReleaseHow): void {
  if (pfn >= 0 && pfn < FIRST_HOST_PFN) return;
  // The reference keeps the folio one, so its head stays its head.
  const folio = pageFolio(mm.memMap, cpu, mm.memMap.pfnToPage(pfn));
  if (how === "dirty") folioMarkDirty(mm, cpu, folio);
  if (how !== "unused") folioMarkAccessed(mm, cpu, folio);
  folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
}
