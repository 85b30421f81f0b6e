/** log2 of the bytes of a page (kernel `PAGE_SHIFT`). */
export const PAGE_SHIFT = 12;
/** Bytes of a page (kernel `PAGE_SIZE`). */
export const PAGE_SIZE = 4096;
