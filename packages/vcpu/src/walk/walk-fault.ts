// A walk that found no usable translation returns a negative number: the complement of these flags.
/** Bits 3:0: the permissions that all entries of the walk allow; 0 if one was not present. */
export const WALK_FAULT_PERMISSIONS = 15;
/** Every entry of the walk was present. */
export const WALK_FAULT_PRESENT: number = 1 << 4;
/** An entry was refused: EPT misconfiguration, or a reserved bit of NPT. */
export const WALK_FAULT_RESERVED: number = 1 << 5;

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
