import { type Address, type Cpu, NULL_ADDRESS, srcuBytes } from "@kvm-age/machine";
import { HostMmOptionError } from "./errors.js";
import { HostMm } from "./host-mm.js";
import type { HostMachine, HostMmHandle, HostMmInit } from "./host-mm-init.js";
import { MM_BYTES } from "./mm/mm-layout.js";
import { mmStruct } from "./mm/mm-struct.js";
import { PER_CPU_BYTES } from "./mm/per-cpu-area.js";
import { HPAGE_PMD_NR, LIST_HEAD_RECORDS, MAX_HOST_PAGES, MemMap } from "./page/mem-map.js";
import { FRAME_RECORD_BYTES } from "./page-table/frame-records.js";
import { VMA_BYTES } from "./vma/vma-table.js";

const DEFAULT_MAP_COUNT = 255;
const MAX_MAP_COUNT = 65530;

/**
 * Lays out a host mm in the machine's arena: an empty address space, all pages free.
 *
 * @throws HostMmOptionError if an option is out of its range.
 * @throws OutOfMemoryError if the arena is too small: 20 bytes a page and 4 a swap slot, 8 more for each with contents.
 */
export function createHostMm(cpu: Cpu, machine: HostMachine, init: HostMmInit): HostMm {
  const mm = mmStruct(machine, layOut(cpu, machine, init));
  mm.zone.init(cpu);
  mm.lruvec.init(cpu);
  mm.pageTables.init(cpu);
  return new HostMm(mm);
}

/** This thread's view of a host mm that `createHostMm` laid out. */
export function attachHostMm(machine: HostMachine, handle: HostMmHandle): HostMm {
  return new HostMm(mmStruct(machine, handle));
}

function checked(option: string, value: number, low: number, high: number): number {
  if (!(Number.isInteger(value) && value >= low && value <= high)) {
    throw new HostMmOptionError(option, value, low, high);
  }
  return value;
}

function layOut(cpu: Cpu, machine: HostMachine, init: HostMmInit): HostMmHandle {
  const pages = checked("pages", init.pages, 1, MAX_HOST_PAGES);
  const swapSlots = checked("swapSlots", init.swapSlots ?? pages, 0, MAX_HOST_PAGES);
  const maxMapCount = checked("maxMapCount", init.maxMapCount ?? DEFAULT_MAP_COUNT, 1, MAX_MAP_COUNT);
  const memoryLimitPages = checked("memoryLimitPages", init.memoryLimitPages ?? pages, 1, pages);
  const span = (bytes: number): Address => machine.frames.allocateSpan(cpu, bytes);
  const records = LIST_HEAD_RECORDS + pages;
  return {
    mm: span(MM_BYTES),
    srcu: span(srcuBytes(machine.maxCpus)),
    vmas: span(maxMapCount * VMA_BYTES),
    perCpu: span(machine.maxCpus * PER_CPU_BYTES),
    memMap: span(MemMap.bytes(pages)),
    blockCounts: span(Math.ceil(pages / HPAGE_PMD_NR) * 4),
    folioSwap: span(records * 4),
    contents: init.contents ? span(records * 8) : NULL_ADDRESS,
    swapMap: span((swapSlots + 1) * 4),
    swapContents: init.contents ? span((swapSlots + 1) * 8) : NULL_ADDRESS,
    frameRecords: machine.createSlab(cpu, "ptdesc", FRAME_RECORD_BYTES).handle,
    pages,
    swapSlots,
    memoryLimitPages,
    transparentHugePages: init.transparentHugePages,
    directReclaim: init.directReclaim ?? false,
    maxMapCount,
  };
}
