import type { Address } from "../cpu/address.js";

const hex = (address: number): string => `0x${address.toString(16)}`;

/** Thrown when an object or frame is freed that is free already. */
export class DoubleFreeError extends Error {
  override readonly name = "DoubleFreeError";

  constructor(
    readonly owner: string,
    readonly address: Address,
  ) {
    super(`${owner}: ${hex(address)} is freed twice`);
  }
}

/** Thrown when an address is freed that its allocator never handed out. */
export class ForeignFreeError extends Error {
  override readonly name = "ForeignFreeError";

  constructor(
    readonly owner: string,
    readonly address: Address,
    readonly reason: string,
  ) {
    super(`${owner}: ${hex(address)} was not allocated here: ${reason}`);
  }
}

/** Thrown when no memory is left for an allocation. */
export class OutOfMemoryError extends Error {
  override readonly name = "OutOfMemoryError";

  constructor(
    readonly owner: string,
    readonly requestedFrames: number,
    readonly allocatedFrames: number,
    readonly totalFrames: number,
  ) {
    super(
      `${owner}: out of memory: ${requestedFrames} frame(s) of 4096 bytes wanted, ${allocatedFrames} of ${totalFrames} in use`,
    );
  }
}

/** Thrown when an object cache is emptied by an operation that was meant to be covered by its top-up. */
export class CacheExhaustedError extends Error {
  override readonly name = "CacheExhaustedError";

  constructor(
    readonly owner: string,
    readonly capacity: number,
  ) {
    super(`${owner}: object cache is empty (capacity ${capacity}); top it up before taking locks`);
  }
}

/** Thrown when an allocator is set up with a size it cannot serve. */
export class ObjectSizeError extends RangeError {
  override readonly name = "ObjectSizeError";

  constructor(
    readonly owner: string,
    readonly bytes: number,
    readonly minimum: number,
    readonly maximum: number,
  ) {
    super(`${owner}: size ${bytes} is outside [${minimum}, ${maximum}] or not a multiple of 8`);
  }
}

/** Thrown when allocator metadata holds a value that no allocator wrote. */
export class AllocatorCorruptionError extends Error {
  override readonly name = "AllocatorCorruptionError";

  constructor(
    readonly owner: string,
    readonly address: Address,
    readonly found: number,
  ) {
    super(`${owner}: metadata of ${hex(address)} is corrupt: found state ${found}`);
  }
}
