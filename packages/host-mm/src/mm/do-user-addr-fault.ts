import type { Cpu } from "@kvm-age/machine";
import { FaultResult } from "../fault/fault-result.js";
import { handleMmFault } from "../fault/handle-mm-fault.js";
import { outOfMemory } from "../gup/hva-to-pfn.js";
import { hvaToIndex } from "../page-table/mapping-window.js";
import type { MmStruct } from "./mm-struct.js";

/**
 * `do_user_addr_fault`: handles the page fault of an access to `hva`, which lies in the mapping window, under the mmap lock. False if no mapping allows
 * the access. Sleeps.
 *
 * @throws HostOutOfMemoryError if no page is free.
 */
export function doUserAddrFault(mm: MmStruct, cpu: Cpu, hva: number, write: boolean): boolean {
  cpu.readLock(mm.mmapLock);
  let result: FaultResult = FaultResult.done;
  try {
    result = handleMmFault(mm, cpu, { index: hvaToIndex(hva), write, noWait: false });
  } finally {
    cpu.readUnlock(mm.mmapLock);
  }
  if (result === FaultResult.outOfMemory) throw outOfMemory(mm, cpu, hva);
  return result !== FaultResult.segmentationFault;
}
