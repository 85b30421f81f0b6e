import type { Cpu } from "@kvm-age/machine";
import { InvalidMappingRangeError, UnmappedRangeError } from "../errors.js";
import {
  hvaToIndex,
  indexToHva,
  MAPPING_WINDOW_END,
  MAPPING_WINDOW_START,
} from "../page-table/mapping-window.js";
import { PAGE_SIZE } from "../page-table/page-size.js";
import type { MmStruct } from "./mm-struct.js";

/** Pages [start, end) of the mapping window. */
export interface PageRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The pages of a byte range.
 *
 * @throws InvalidMappingRangeError unless start and length are multiples of 4096 and the range, not empty, lies in the mapping window.
 */
export function pageRange(hva: number, bytes: number): PageRange {
  const isAligned = hva % PAGE_SIZE === 0 && bytes % PAGE_SIZE === 0 && bytes > 0;
  if (!isAligned || hva < MAPPING_WINDOW_START || hva + bytes > MAPPING_WINDOW_END) {
    throw new InvalidMappingRangeError(hva, bytes, MAPPING_WINDOW_START, MAPPING_WINDOW_END);
  }
  return { start: hvaToIndex(hva), end: hvaToIndex(hva) + bytes / PAGE_SIZE };
}

/**
 * Checks that mappings cover the whole range. Held: the mmap lock.
 *
 * @throws UnmappedRangeError with the first address that is not mapped.
 */
export function checkMapped(mm: MmStruct, cpu: Cpu, range: PageRange): void {
  let index = range.start;
  while (index < range.end) {
    const vma = mm.vmas.vmaLookup(cpu, index);
    if (vma < 0) {
      throw new UnmappedRangeError(indexToHva(range.start), indexToHva(range.end), indexToHva(index));
    }
    index = mm.vmas.end(cpu, vma);
  }
}
