// A walk that found no usable translation returns a negative number: the complement of these flags.
/** Bits 3:0: the rights that all entries of the walk give; 0 if one was not present. */
export const WALK_FAULT_RIGHTS = 15;
/** Every entry of the walk was present. */
export const WALK_FAULT_PRESENT: number = 1 << 4;
/** An entry was refused: EPT misconfiguration, or a reserved bit. */
export const WALK_FAULT_RESERVED: number = 1 << 5;
/** The tables were the guest's own: the fault is the guest's, and there is no exit. */
export const WALK_FAULT_GUEST: number = 1 << 7;
/** The address was that of an entry of the guest's tables, not the final one. */
export const WALK_FAULT_GUEST_PAGE: number = 1 << 8;

/** The negative result for a set of flags. */
export function walkFault(flags: number): number {
  return ~flags;
}

/** The flags of a negative result. */
export function walkFaultFlags(result: number): number {
  return ~result;
}

/** Not a fault: an entry changed under the walk, which begins again. */
export const WALK_RACED: number = ~(1 << 6);

/** Not a fault: there is no such address in the guest's paging mode. */
export const WALK_NO_ADDRESS: number = ~(1 << 9);
