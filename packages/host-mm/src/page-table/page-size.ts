/** Bytes of a page (kernel `PAGE_SIZE`). */
export const PAGE_SIZE = 4096;
/** Bytes of a huge page (kernel `PMD_SIZE`). */
export const PMD_SIZE = 2097152;
