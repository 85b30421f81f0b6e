import {
  PERMISSION_EXECUTE,
  PERMISSION_READ,
  PERMISSION_USER_EXECUTE,
  PERMISSION_WRITE,
} from "../access/permission.js";
import {
  highReservedMask,
  LARGE_PAGE_ADDRESS_LOWEST,
  misalignedMasks,
  PAGE_SIZE_BIT,
  type PageFormat,
} from "./page-format.js";
import type { CompletePagingMode } from "./paging-mode.js";

// AMD APM vol. 2 §5.3 (long-mode translation) and §5.4 (entry fields); nested tables have the host's format, §15.25.
/** Bit 0: present. */
const PRESENT = 1 << 0;
/** Bit 1: writable. */
const WRITABLE = 1 << 1;
/** Bit 2: user. */
const USER = 1 << 2;
/** Bit 5: accessed. */
const ACCESSED = 1 << 5;
/** Bit 6: dirty, in an entry that maps a page. */
const DIRTY = 1 << 6;
/** Bit 8: global in an entry that maps a page, must be zero in level-3 and level-4 entries that refer to a table. */
const GLOBAL = 1 << 8;
/** Bit 63, bit 31 of the high half: no execute (EFER.NXE is set). */
const NO_EXECUTE_HIGH = 0x8000_0000;

const MISALIGNED = misalignedMasks(LARGE_PAGE_ADDRESS_LOWEST);

/** Low reserved bits of an entry that refers to a table, by level; level 1 has no such entry. */
const TABLE_RESERVED_BY_LEVEL: readonly number[] = [0, 0, 0, GLOBAL, GLOBAL | PAGE_SIZE_BIT, PAGE_SIZE_BIT];

/** What is the same for kernel and user fetches: nested tables are read without guest-mode execute trap. */
const EXECUTE = PERMISSION_EXECUTE | PERMISSION_USER_EXECUTE;

/**
 * NPT entries. Nested walks are user accesses (APM §15.25.5), so an entry without the user bit allows nothing.
 * `isReserved` is a reserved bit of the APM's figures, which raises #NPF with the reserved-bit error code.
 */
export function nptFormat(paging: CompletePagingMode): PageFormat {
  const encryptionHigh = paging.encryptionBit === null ? 0 : 2 ** (paging.encryptionBit - 32);
  const highReserved = highReservedMask(paging.maxPhyAddr) & ~encryptionHigh;
  return {
    rootLevel: paging.rootLevel,
    presentMask: PRESENT,
    accessedMask: ACCESSED,
    dirtyMask: DIRTY,
    pdpteLevel: 0,
    addressHighMask: 0xfffff & ~encryptionHigh,
    allRights: PERMISSION_READ | PERMISSION_WRITE | EXECUTE,
    rights(low, high) {
      if ((low & USER) === 0) return 0;
      const write = (low & WRITABLE) === 0 ? 0 : PERMISSION_WRITE;
      return PERMISSION_READ | write | ((high & NO_EXECUTE_HIGH) === 0 ? EXECUTE : 0);
    },
    isReserved(low, high, level, leaf) {
      if ((high & highReserved) !== 0) return true;
      const reserved = leaf ? MISALIGNED[level]! : TABLE_RESERVED_BY_LEVEL[level]!;
      return (low & reserved) !== 0;
    },
  };
}
