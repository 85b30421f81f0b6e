/** Kernel error codes that a memslot operation can end with. */
export type MemslotErrno = "EINVAL" | "EEXIST" | "ENOMEM" | "EIO" | "ENOENT";

/**
 * Thrown when a memslot or dirty-log request is refused, by the kernel's error code. The state is as if the
 * request had not been made.
 */
export class MemslotError extends Error {
  override readonly name = "MemslotError";

  constructor(
    readonly errno: MemslotErrno,
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`${errno}: ${reason}`, options);
  }
}

/** Thrown when a number is no host virtual address of user space. */
export class InvalidHvaError extends RangeError {
  override readonly name = "InvalidHvaError";

  constructor(
    readonly value: number,
    readonly maximum: number,
  ) {
    super(`hva ${value} is not an integer in [0, 0x${maximum.toString(16)}]`);
  }
}

/** Thrown when memslots are created with options outside their range. */
export class MemslotsInitError extends RangeError {
  override readonly name = "MemslotsInitError";

  constructor(
    readonly option: string,
    readonly value: number | boolean,
    readonly allowed: string,
  ) {
    super(`memslots option ${option} is ${value}, allowed: ${allowed}`);
  }
}

/**
 * Thrown when an invalidation ends that did not begin (kernel: `KVM_BUG_ON` / `WARN_ON` of a negative count).
 */
export class UnbalancedInvalidationError extends Error {
  override readonly name = "UnbalancedInvalidationError";

  constructor(
    readonly counter: "mmu_invalidate_in_progress" | "mn_active_invalidate_count",
    readonly count: number,
  ) {
    super(`${counter} is ${count}, must be at least 1 when an invalidation ends`);
  }
}

/**
 * Thrown when a counter of a slot's metadata would leave its range: accounting and unaccounting do not match.
 */
export class MetadataCounterError extends RangeError {
  override readonly name = "MetadataCounterError";

  constructor(
    readonly counter: "disallow_lpage" | "gfn_write_track",
    readonly gfn: number,
    readonly value: number,
    readonly maximum: number,
  ) {
    super(`${counter} of gfn 0x${gfn.toString(16)} would become ${value}, outside [0, ${maximum}]`);
  }
}

/** Thrown when rmap heads or write-tracking counters are used of a slot that has no such array. */
export class MissingMetadataError extends Error {
  override readonly name = "MissingMetadataError";

  constructor(
    readonly array: "rmap" | "gfn_write_track",
    readonly slot: number,
    readonly gfn: number,
  ) {
    super(
      `slot at 0x${slot.toString(16)} has no ${array} array for gfn 0x${gfn.toString(16)}: no shadow root was allocated`,
    );
  }
}

/** Thrown when a slot set does not hold a slot that is to be taken out of it. */
export class SlotNotInSetError extends Error {
  override readonly name = "SlotNotInSetError";

  constructor(
    readonly index: string,
    readonly id: number,
  ) {
    super(`slot with id ${id} is not in the set's ${index}`);
  }
}
