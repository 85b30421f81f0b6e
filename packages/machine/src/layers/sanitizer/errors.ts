import { FrameState } from "../../alloc/frame-table.js";
import type { AccessKind, WordBytes } from "../access-observing-cpu.js";

/** What was done to the arena: an access of a `Cpu`, or the use of a structure in it by the machine. */
export type CheckedUse = AccessKind | "relax" | "callRcu" | "lock" | "flushRemoteTlbs";

/** One use of `bytes` bytes of the arena from `address`. */
export interface ArenaUse {
  readonly use: CheckedUse;
  readonly address: number;
  readonly bytes: number;
}

function describe({ use, address, bytes }: ArenaUse): string {
  return `${use} of ${bytes} byte(s) at 0x${address.toString(16)}`;
}

/** The name of a frame state, or its number if it is none. */
export function frameStateName(state: number): string {
  const entry = Object.entries(FrameState).find(([, value]) => value === state);
  return entry?.[0] ?? `unknown state ${state}`;
}

/** A use of memory that its user does not own. The message says what, where, and what the allocator knows. */
export class AddressSanitizerError extends Error {
  override readonly name: string = "AddressSanitizerError";
  readonly use: CheckedUse;
  readonly address: number;
  readonly bytes: number;

  constructor(what: ArenaUse, reason: string) {
    super(`${describe(what)}: ${reason}`);
    this.use = what.use;
    this.address = what.address;
    this.bytes = what.bytes;
  }
}

/** Thrown when an address is not a multiple of the word's width. */
export class MisalignedAccessError extends AddressSanitizerError {
  override readonly name = "MisalignedAccessError";

  constructor(
    what: ArenaUse,
    readonly alignment: number,
  ) {
    super(what, `the address is not a multiple of ${alignment}`);
  }
}

/** Thrown when a use is not wholly inside the arena, or the address is no number that an arena can have. */
export class OutOfArenaError extends AddressSanitizerError {
  override readonly name = "OutOfArenaError";

  constructor(
    what: ArenaUse,
    readonly arenaBytes: number,
  ) {
    super(what, `outside the arena [0, 0x${arenaBytes.toString(16)})`);
  }
}

/** Thrown when the null page is used: a null address with a field's offset. */
export class NullPageAccessError extends AddressSanitizerError {
  override readonly name = "NullPageAccessError";

  constructor(what: ArenaUse) {
    super(what, "in the null page");
  }
}

/** Thrown when the machine's own processor slots are used, or frames set apart for it. */
export class MachineMemoryError extends AddressSanitizerError {
  override readonly name = "MachineMemoryError";

  constructor(what: ArenaUse) {
    super(what, "in memory of the machine itself");
  }
}

/** Thrown when a frame is used that was never handed out. */
export class NeverAllocatedError extends AddressSanitizerError {
  override readonly name = "NeverAllocatedError";
  readonly frameState = "neverUsed";

  constructor(what: ArenaUse) {
    super(what, "the frame was never allocated (state neverUsed)");
  }
}

/** Thrown when a freed frame or a freed slab object is used. */
export class UseAfterFreeError extends AddressSanitizerError {
  override readonly name = "UseAfterFreeError";

  /**
   * @param frameState name of the frame's state: `slab` if the object is free, not the frame
   * @param objectBytes size of the slab's objects, null outside slabs
   */
  constructor(
    what: ArenaUse,
    readonly frameState: string,
    readonly objectBytes: number | null,
  ) {
    super(
      what,
      objectBytes === null
        ? `the frame is free (state ${frameState})`
        : `the object of ${objectBytes} bytes is free or was never allocated (frame state ${frameState})`,
    );
  }
}

/** Thrown when bytes of a slab's frame are used that belong to no object and not to the slab's header. */
export class SlabRedzoneError extends AddressSanitizerError {
  override readonly name = "SlabRedzoneError";
  readonly frameState = "slab";

  constructor(
    what: ArenaUse,
    readonly objectBytes: number,
  ) {
    super(what, `between or after the ${objectBytes}-byte objects of a slab (frame state slab)`);
  }
}

/** Thrown when a run of words begins in one allocation and ends outside it. */
export class AllocationOverflowError extends AddressSanitizerError {
  override readonly name = "AllocationOverflowError";

  /** @param endAddress first address behind the allocation */
  constructor(
    what: ArenaUse,
    readonly frameState: string,
    readonly objectBytes: number | null,
    readonly endAddress: number,
  ) {
    const owner = objectBytes === null ? "allocation" : `${objectBytes}-byte object`;
    super(
      what,
      `runs over the end of its ${owner} at 0x${endAddress.toString(16)} (frame state ${frameState})`,
    );
  }
}

/** Thrown when a word is used with another width than its first use since it was allocated. */
export class WordWidthError extends AddressSanitizerError {
  override readonly name = "WordWidthError";

  constructor(
    what: ArenaUse,
    readonly knownBytes: WordBytes,
  ) {
    super(what, `the word has been used as ${knownBytes * 8} bits wide`);
  }
}
