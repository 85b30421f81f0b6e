/** Hexadecimal form of a bigint for messages, with the `0x` prefix. */
function hex(value: bigint): string {
  return value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

/** Thrown when a frame number (gfn or pfn) is not an integer in the range its type states. */
export class InvalidFrameNumberError extends RangeError {
  override readonly name = "InvalidFrameNumberError";
  constructor(kind: "gfn" | "pfn", value: number, limit: number) {
    super(`${kind} ${value} is not an integer in [0, ${limit - 1}]`);
  }
}

/** Thrown when a bigint does not fit the 64 bits of a page-table entry. */
export class InvalidSpteError extends RangeError {
  override readonly name = "InvalidSpteError";
  constructor(value: bigint) {
    super(`SPTE ${hex(value)} is outside [0x0, 0xffffffffffffffff]`);
  }
}

/** Thrown when text given to `parseSpte` is not a 64-bit hexadecimal number. */
export class InvalidSpteTextError extends SyntaxError {
  override readonly name = "InvalidSpteTextError";
  constructor(text: string) {
    super(
      `${JSON.stringify(text)} is not an SPTE; expected 1 to 16 hexadecimal digits, ` +
        `"0x" in front and "_" between digits allowed, e.g. 0x8600_0000_1234_5b77`,
    );
  }
}

/** Thrown when a page-table level lies outside the range the called function accepts. */
export class InvalidPgLevelError extends RangeError {
  override readonly name = "InvalidPgLevelError";
  constructor(value: number, low: number, high: number) {
    super(`page-table level ${value} is not an integer in [${low}, ${high}]`);
  }
}

/** Thrown when an entry number within a page table is not an integer in [0, 511]. */
export class InvalidSpteIndexError extends RangeError {
  override readonly name = "InvalidSpteIndexError";
  constructor(value: number) {
    super(`SPTE index ${value} is not an integer in [0, 511]`);
  }
}

/** Thrown when a numeric option of `createSpteFormat` is outside its range. */
export class SpteFormatOptionRangeError extends RangeError {
  override readonly name = "SpteFormatOptionRangeError";
  constructor(option: string, value: number, low: number, high: number) {
    super(`${option} ${value} is not an integer in [${low}, ${high}]`);
  }
}

/** Thrown when `createSpteFormat` gets an option that does not exist in the chosen mode or rule set. */
export class UnsupportedSpteFormatOptionError extends Error {
  override readonly name = "UnsupportedSpteFormatOptionError";
  constructor(option: string, value: string, allowed: string) {
    super(`${option} ${value} is not possible here; allowed: ${allowed}`);
  }
}

/** Thrown when an MMIO access mask does not fit in 32 bits (a BUG in `kvm_mmu_set_mmio_spte_mask`). */
export class InvalidMmioAccessMaskError extends RangeError {
  override readonly name = "InvalidMmioAccessMaskError";
  constructor(value: bigint) {
    super(`MMIO access mask ${hex(value)} is outside [0x0, 0xffffffff]`);
  }
}

/** Thrown when `makeSmallSpte` is asked to split something that is not a present huge leaf. */
export class NotHugeSpteError extends Error {
  override readonly name = "NotHugeSpteError";
  constructor(spte: bigint) {
    super(`SPTE ${hex(spte)} is not a huge leaf; bits 11 (MMU-present) and 7 (page size) must be set`);
  }
}

/** Thrown when `makeHugeSpte` is asked to build on an entry that is not shadow-present. */
export class NotPresentSpteError extends Error {
  override readonly name = "NotPresentSpteError";
  constructor(spte: bigint) {
    super(`SPTE ${hex(spte)} is not shadow-present; bit 11 (MMU-present) must be set`);
  }
}

/** Thrown when `modifySpteProtections` is asked to set and clear the same bit. */
export class ContradictoryProtectionBitsError extends Error {
  override readonly name = "ContradictoryProtectionBitsError";
  constructor(set: bigint, clear: bigint) {
    super(
      `bits to set ${hex(set)} and bits to clear ${hex(clear)} overlap in ${hex(set & clear)}; must be 0x0`,
    );
  }
}

/** Thrown when a field of a role word is outside the range its bits can hold. */
export class InvalidRoleFieldError extends RangeError {
  override readonly name = "InvalidRoleFieldError";
  constructor(field: string, value: number, high: number) {
    super(`role field ${field} ${value} is not an integer in [0, ${high}]`);
  }
}

/** Thrown when a role field is set that the rule set's role word does not have. */
export class UnknownRoleFieldError extends Error {
  override readonly name = "UnknownRoleFieldError";
  constructor(field: string, ruleSetName: string) {
    super(`role field ${field} true does not exist in rule set ${ruleSetName}; allowed: false`);
  }
}
