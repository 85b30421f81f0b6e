import { PAGE_SIZE } from "./page-size.js";

/** First address of the window in which mappings are made: the last TiB of user space, entries 254 and 255 of the top table. */
export const MAPPING_WINDOW_START = 0x7f0000000000;
/** Pages of the window up to `TASK_SIZE_MAX`; every page number in it fits 28 bits. */
export const MAPPING_WINDOW_PAGES: number = 2 ** 28 - 1;
/** First address behind the window. */
export const MAPPING_WINDOW_END: number = MAPPING_WINDOW_START + MAPPING_WINDOW_PAGES * PAGE_SIZE;

/** Whether the address lies in the window. */
export function isInMappingWindow(hva: number): boolean {
  return hva >= MAPPING_WINDOW_START && hva < MAPPING_WINDOW_END;
}

/** Page number within the window of an address in it (kernel `linear_page_index`), in [0, 2^28). */
export function hvaToIndex(hva: number): number {
  return Math.floor((hva - MAPPING_WINDOW_START) / PAGE_SIZE);
}

/** First address of page `index`. */
export function indexToHva(index: number): number {
  return MAPPING_WINDOW_START + index * PAGE_SIZE;
}
