import { type Address, type LockClass, offset, type RwLock } from "@kvm-age/machine";
import type { HostMachine, HostMmHandle } from "../host-mm-init.js";
import { FolioBatches } from "../lru/folio-batches.js";
import { Lruvec } from "../lru/lruvec.js";
import { MmuNotifierChain } from "../notifier/mmu-notifier-chain.js";
import { MemMap } from "../page/mem-map.js";
import { PageContents } from "../page/page-contents.js";
import { FrameRecords } from "../page-table/frame-records.js";
import { PageTables } from "../page-table/page-tables.js";
import { SwapDevice } from "../swap/swap-device.js";
import { VmaTable } from "../vma/vma-table.js";
import { Zone } from "../zone/zone.js";
import { MM_EXITED, MM_MMAP_LOCK, MM_NOTIFIER_COUNT } from "./mm-layout.js";

/** Lock class of the mapping lock. */
export const MMAP_LOCK_CLASS: LockClass = { name: "mm->mmap_lock", sleeps: true };

/**
 * One thread's view of the address space that owns the VM and of the memory behind it (kernel `struct mm_struct`, and the one
 * node it lives on). Addresses and constants only.
 */
export interface MmStruct {
  readonly handle: HostMmHandle;
  readonly memMap: MemMap;
  readonly contents: PageContents | null;
  readonly zone: Zone;
  readonly lruvec: Lruvec;
  readonly folioBatches: FolioBatches;
  readonly swap: SwapDevice;
  readonly vmas: VmaTable;
  readonly frameRecords: FrameRecords;
  readonly pageTables: PageTables;
  readonly notifiers: MmuNotifierChain;
  readonly mmapLock: RwLock;
  /** u32: 1 once `exitMmap` has begun. */
  readonly exitedWord: Address;
  readonly maxCpus: number;
}

/** The view that `handle` describes. */
export function mmStruct(machine: HostMachine, handle: HostMmHandle): MmStruct {
  const { frames, maxCpus } = machine;
  const { mm, perCpu, blockCounts } = handle;
  const memMap = new MemMap(handle.memMap, handle.pages);
  const zone = new Zone(memMap, { mm, perCpu, blockCounts, maxCpus });
  const lruvec = new Lruvec(memMap, mm);
  const frameRecords = new FrameRecords(frames, machine.slab(handle.frameRecords));
  const swap = new SwapDevice({
    mm,
    map: handle.swapMap,
    contents: handle.swapContents,
    slots: handle.swapSlots,
  });
  return {
    handle,
    memMap,
    contents: handle.contents === 0 ? null : new PageContents(handle.contents, swap),
    zone,
    lruvec,
    folioBatches: new FolioBatches(memMap, lruvec, zone, perCpu, maxCpus),
    swap,
    vmas: new VmaTable(mm, handle.vmas, handle.maxMapCount),
    frameRecords,
    pageTables: new PageTables(frames, frameRecords, mm),
    notifiers: new MmuNotifierChain(offset(mm, MM_NOTIFIER_COUNT), handle.srcu),
    mmapLock: { kind: "rwlock", address: offset(mm, MM_MMAP_LOCK), lockClass: MMAP_LOCK_CLASS },
    exitedWord: offset(mm, MM_EXITED),
    maxCpus,
  };
}
