import type { Cpu } from "@kvm-age/machine";
import { SegmentationFaultError } from "../errors.js";
import { hvaToIndex, isInMappingWindow } from "../page-table/mapping-window.js";
import { doUserAddrFault } from "./do-user-addr-fault.js";
import { hardwareWalk, PAGE_FAULT } from "./hardware-walk.js";
import type { MmStruct } from "./mm-struct.js";

/**
 * An access of the VMM itself: the hardware walks the primary tables and sets Accessed, and Dirty for a write, in the leaf; what it cannot do is
 * faulted in first. No bytes are touched.
 *
 * @throws SegmentationFaultError if no mapping allows the access.
 * @throws HostOutOfMemoryError if no page is free for the fault.
 */
export function userAccess(mm: MmStruct, cpu: Cpu, hva: number, write: boolean): void {
  if (!isInMappingWindow(hva)) throw new SegmentationFaultError(hva, write);
  while (!touch(mm, cpu, hvaToIndex(hva), write)) {
    if (!doUserAddrFault(mm, cpu, hva, write)) throw new SegmentationFaultError(hva, write);
  }
}

function touch(mm: MmStruct, cpu: Cpu, index: number, write: boolean): boolean {
  cpu.rcuReadLock();
  const pfn = hardwareWalk(mm, cpu, index, write);
  cpu.rcuReadUnlock();
  return pfn !== PAGE_FAULT;
}
