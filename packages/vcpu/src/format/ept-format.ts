import { PERMISSION_USER_EXECUTE } from "../access/permission.js";
import { highReservedMask, misalignedMasks, PAGE_SIZE_BIT, type PageFormat } from "./page-format.js";
import type { CompletePagingMode } from "./paging-mode.js";

// Intel SDM vol. 3, "The extended page table mechanism (EPT)": tables "Format of an EPT …".
/** Bits 2:0: read, write, execute (of supervisor-mode linear addresses under mode-based execute control). */
const READ_WRITE_EXECUTE = 7;
/** Read, write, execute, user execute. */
const ALL_RIGHTS = 15;
/** Access values 2 (W) and 6 (WX) are undefined (bit n: value n). */
const WRITE_WITHOUT_READ = (1 << 2) | (1 << 6);
/** So are all without R where execute-only is not supported. */
const NO_READ = WRITE_WITHOUT_READ | (1 << 0) | (1 << 4);
/** Bit 8: Accessed, if EPTP bit 6 is set, else ignored. */
const ACCESSED = 1 << 8;
/** Bit 9: Dirty in an entry that maps a page, likewise. */
const DIRTY = 1 << 9;
/** Bit 10: execute for user-mode linear addresses, under mode-based execute control, else ignored. */
const USER_EXECUTE = 1 << 10;
/** Bits 5:3 of an entry that maps a page: EPT memory type. */
const MEMORY_TYPE_SHIFT = 3;
/** Memory types 2, 3 and 7 are reserved (bit n: type n). */
const RESERVED_MEMORY_TYPES = (1 << 2) | (1 << 3) | (1 << 7);
/** Bits 6:3 of an entry that refers to a table are reserved; bit 7, too, where no page can be mapped. */
const TABLE_RESERVED = 0x78;

/** Low reserved bits of an entry that refers to a table, by level; level 1 has no such entry. */
const TABLE_RESERVED_BY_LEVEL: readonly number[] = [
  0,
  0,
  TABLE_RESERVED,
  TABLE_RESERVED,
  TABLE_RESERVED | PAGE_SIZE_BIT,
  TABLE_RESERVED | PAGE_SIZE_BIT,
];

const MISALIGNED = misalignedMasks(12);

/**
 * EPT entries. `isReserved` is the SDM's "EPT misconfiguration": write without read, execute-only where not supported,
 * a reserved bit (also an address beyond MAXPHYADDR or below the page's alignment), a reserved memory type.
 */
export function eptFormat(paging: CompletePagingMode): PageFormat {
  const { adEnabled, executeOnly, modeBasedExecuteControl } = paging;
  const highReserved = highReservedMask(paging.maxPhyAddr);

  const undefinedAccesses = executeOnly ? WRITE_WITHOUT_READ : NO_READ;
  // Without mode-based control bit 2 speaks for all fetches.
  const userExecuteMask = modeBasedExecuteControl ? USER_EXECUTE : 1 << 2;

  const rights = (low: number): number => {
    const access = low & READ_WRITE_EXECUTE;
    return (low & userExecuteMask) !== 0 ? access | PERMISSION_USER_EXECUTE : access;
  };

  return {
    rootLevel: paging.rootLevel,
    presentMask: modeBasedExecuteControl ? READ_WRITE_EXECUTE | USER_EXECUTE : READ_WRITE_EXECUTE,
    accessedMask: adEnabled ? ACCESSED : 0,
    dirtyMask: adEnabled ? DIRTY : 0,
    pdpteLevel: 0,
    addressHighMask: 0xfffff,
    allRights: ALL_RIGHTS,
    rights,
    isReserved(low, high, level, leaf) {
      if ((high & highReserved) !== 0) return true;
      if (((undefinedAccesses >> (low & READ_WRITE_EXECUTE)) & 1) !== 0) return true;
      if (!leaf) return (low & TABLE_RESERVED_BY_LEVEL[level]!) !== 0;
      if ((low & MISALIGNED[level]!) !== 0) return true;
      return ((RESERVED_MEMORY_TYPES >> ((low >> MEMORY_TYPE_SHIFT) & 7)) & 1) !== 0;
    },
  };
}
