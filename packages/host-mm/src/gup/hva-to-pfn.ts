import type { Cpu } from "@kvm-age/machine";
import type { HvaToPfnRequest, HvaToPfnResult } from "@kvm-age/memslot";
import { HostOutOfMemoryError } from "../errors.js";
import { FaultResult } from "../fault/fault-result.js";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioPut } from "../page/folio-put.js";
import { pageFolio } from "../page/folio-reference.js";
import { NULL_PAGE } from "../page/mem-map.js";
import { hvaToIndex, isInMappingWindow } from "../page-table/mapping-window.js";
import { getUserPage } from "./get-user-page.js";
import { getUserPageFast } from "./get-user-page-fast.js";
import { hvaToPfnRemapped } from "./hva-to-pfn-remapped.js";

const FAULT: HvaToPfnResult = { error: "fault" };
const NEEDS_IO: HvaToPfnResult = { error: "needs-io" };

/**
 * `hva_to_pfn`: first without locks if a writable mapping is wanted or welcome, then with a fault. After a read fault the
 * quick lookup is tried once more, so that a read can install a writable translation. What cannot be faulted in
 * may be a mapping without page records, looked up last. There are no signals, so
 * `interruptible` changes nothing.
 *
 * @throws HostOutOfMemoryError if no page is free for the fault.
 */
export function hvaToPfn(mm: MmStruct, cpu: Cpu, hva: number, request: HvaToPfnRequest): HvaToPfnResult {
  if (!isInMappingWindow(hva)) return FAULT;
  const index = hvaToIndex(hva);
  if (request.write || request.allowWritable) {
    const page = getUserPageFast(mm, cpu, index);
    if (page !== NULL_PAGE) return { error: null, pfn: mm.memMap.pageToPfn(page), mapWritable: true };
  }
  const { page, result } = getUserPage(mm, cpu, { index, write: request.write, noWait: request.noWait });
  if (result === FaultResult.outOfMemory) throw outOfMemory(mm, cpu, hva);
  if (result === FaultResult.retry) return NEEDS_IO;
  if (result === FaultResult.segmentationFault) return hvaToPfnRemapped(mm, cpu, index, request);
  if (!request.write && request.allowWritable) {
    const writable = getUserPageFast(mm, cpu, index);
    if (writable !== NULL_PAGE) {
      folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, pageFolio(mm.memMap, cpu, page));
      return { error: null, pfn: mm.memMap.pageToPfn(writable), mapWritable: true };
    }
  }
  return { error: null, pfn: mm.memMap.pageToPfn(page), mapWritable: request.write };
}

/** The error for a fault at `hva` that found no free page. */
export function outOfMemory(mm: MmStruct, cpu: Cpu, hva: number): HostOutOfMemoryError {
  return new HostOutOfMemoryError(hva, mm.memMap.pages, mm.swap.slots - mm.swap.usedSlots(cpu));
}
