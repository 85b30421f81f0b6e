import { RIGHT_EXECUTE, RIGHT_USER, RIGHT_WRITE } from "../access/rights.js";
import {
  highReservedMask,
  LARGE_PAGE_ADDRESS_LOWEST,
  misalignedMasks,
  PAGE_SIZE_BIT,
  type PageFormat,
} from "./page-format.js";

// Intel SDM vol. 3, "Paging", figures "Formats of CR3 and paging-structure entries"; AMD APM vol. 2 §5.3 and §5.4.
const PRESENT = 1 << 0;
/** Bit 1, R/W. */
const WRITABLE = 1 << 1;
/** Bit 2, U/S. */
const USER = 1 << 2;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
/** Bit 8: AMD wants it zero in entries of levels 4 and 5; Intel ignores it there. */
const GLOBAL = 1 << 8;
/** Bit 63, bit 31 of the high half: no execute. */
const NO_EXECUTE_HIGH = 0x8000_0000;
/** PAE reserves bits 62:52 as well, which long mode ignores or gives to software. */
const PAE_RESERVED_HIGH = 0x7ff0_0000;
/** A PDPTE of PAE paging has P, PWT and PCD; bits 2:1 and 8:5 are reserved. */
const PDPTE_RESERVED = 0x1e6;

const ALL_RIGHTS = RIGHT_WRITE | RIGHT_USER | RIGHT_EXECUTE;
const MISALIGNED = misalignedMasks(LARGE_PAGE_ADDRESS_LOWEST);

/** What the layout of x86 entries depends on. */
export interface X86FormatInit {
  /** 3 is PAE paging, 4 and 5 are long mode. */
  readonly rootLevel: 3 | 4 | 5;
  /** MAXPHYADDR in bits, [32, 52]. */
  readonly maxPhyAddr: number;
  /** EFER.NXE; without it bit 63 is reserved. */
  readonly eferNx: boolean;
  readonly amd: boolean;
}

function rightsOf(low: number, high: number): number {
  const writeAndUser = (low & (WRITABLE | USER)) >> 1;
  return (high & NO_EXECUTE_HIGH) === 0 ? writeAndUser | RIGHT_EXECUTE : writeAndUser;
}

/** PAE paging: 32-bit linear addresses, three levels, of which the first is four PDPTEs without rights and flags. */
function paeFormat({ maxPhyAddr, eferNx }: X86FormatInit): PageFormat {
  const addressReserved = highReservedMask(maxPhyAddr) | PAE_RESERVED_HIGH;
  const highReserved = eferNx ? addressReserved : (addressReserved | NO_EXECUTE_HIGH) >>> 0;
  const pdpteHighReserved = (addressReserved | NO_EXECUTE_HIGH) >>> 0;
  return {
    rootLevel: 3,
    presentMask: PRESENT,
    accessedMask: ACCESSED,
    dirtyMask: DIRTY,
    pdpteLevel: 3,
    addressHighMask: 0xfffff,
    allRights: ALL_RIGHTS,
    rights: (low, high, level) => (level === 3 ? ALL_RIGHTS : rightsOf(low, high)),
    isReserved(low, high, level, leaf) {
      if (level === 3) return (low & PDPTE_RESERVED) !== 0 || (high & pdpteHighReserved) !== 0;
      return (high & highReserved) !== 0 || (leaf && (low & MISALIGNED[level]!) !== 0);
    },
  };
}

function longModeFormat({ rootLevel, maxPhyAddr, eferNx, amd }: X86FormatInit): PageFormat {
  const addressReserved = highReservedMask(maxPhyAddr);
  const highReserved = eferNx ? addressReserved : (addressReserved | NO_EXECUTE_HIGH) >>> 0;
  const topReserved = amd ? PAGE_SIZE_BIT | GLOBAL : PAGE_SIZE_BIT;
  return {
    rootLevel,
    presentMask: PRESENT,
    accessedMask: ACCESSED,
    dirtyMask: DIRTY,
    pdpteLevel: 0,
    addressHighMask: 0xfffff,
    allRights: ALL_RIGHTS,
    rights: rightsOf,
    isReserved(low, high, level, leaf) {
      if ((high & highReserved) !== 0) return true;
      if (level >= 4) return (low & topReserved) !== 0;
      return leaf && (low & MISALIGNED[level]!) !== 0;
    },
  };
}

/**
 * Entries of x86 paging with 8-byte entries, as a guest makes them for itself and the MMU for a guest without a second
 * level. Pages of 1 GiB are supported. 32-bit paging (4-byte entries) is not modelled.
 */
export function x86Format(init: X86FormatInit): PageFormat {
  return init.rootLevel === 3 ? paeFormat(init) : longModeFormat(init);
}
