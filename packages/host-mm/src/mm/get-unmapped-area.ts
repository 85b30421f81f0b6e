import type { Cpu } from "@kvm-age/machine";
import { AddressSpaceExhaustedError } from "../errors.js";
import { HPAGE_PMD_NR } from "../page/mem-map.js";
import {
  MAPPING_WINDOW_END,
  MAPPING_WINDOW_PAGES,
  MAPPING_WINDOW_START,
} from "../page-table/mapping-window.js";
import { type PageRange, pageRange } from "./map-range.js";
import type { MmStruct } from "./mm-struct.js";

/**
 * `get_unmapped_area`: the first gap of `bytes` at a multiple of 2 MiB. Held: the mmap lock for write.
 *
 * @throws InvalidMappingRangeError if `bytes` is not a positive multiple of 4096, or beyond the window.
 * @throws AddressSpaceExhaustedError if no gap is long enough.
 */
export function getUnmappedArea(mm: MmStruct, cpu: Cpu, bytes: number): PageRange {
  const { start: first, end: behind } = pageRange(MAPPING_WINDOW_START, bytes);
  const pages = behind - first;
  const start = mm.vmas.findGap(cpu, pages, HPAGE_PMD_NR, MAPPING_WINDOW_PAGES);
  if (start < 0) throw new AddressSpaceExhaustedError(bytes, MAPPING_WINDOW_START, MAPPING_WINDOW_END);
  return { start, end: start + pages };
}
