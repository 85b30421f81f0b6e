const hex = (value: number): string => `0x${value.toString(16)}`;

/** Thrown when an option of `createHostMm` is outside its range. */
export class HostMmOptionError extends RangeError {
  override readonly name = "HostMmOptionError";

  constructor(
    readonly option: string,
    readonly value: number,
    readonly low: number,
    readonly high: number,
  ) {
    super(`${option} ${value} is not an integer in [${low}, ${high}]`);
  }
}

/** Thrown when a notification starts in a thread in which a subscriber is missing that another thread registered. */
export class SubscriberMissingError extends Error {
  override readonly name = "SubscriberMissingError";

  constructor(
    readonly here: number,
    readonly elsewhere: number,
  ) {
    super(
      `${here} MMU-notifier subscriber(s) registered in this thread, ${elsewhere} in another; register all in each`,
    );
  }
}

/** Thrown when a fault finds no free page and reclaim is off or makes no progress (kernel `VM_FAULT_OOM`). */
export class HostOutOfMemoryError extends Error {
  override readonly name = "HostOutOfMemoryError";

  constructor(
    readonly hva: number,
    readonly pages: number,
    readonly freeSwapSlots: number,
  ) {
    super(
      `no free page for the fault at hva ${hex(hva)}: all ${pages} host pages in use, ${freeSwapSlots} swap slot(s) free`,
    );
  }
}

/** Thrown when a user access hits an address that no mapping covers or that the mapping does not allow (SIGSEGV). */
export class SegmentationFaultError extends Error {
  override readonly name = "SegmentationFaultError";

  constructor(
    readonly hva: number,
    readonly write: boolean,
  ) {
    super(`${write ? "write" : "read"} at hva ${hex(hva)}: no mapping that allows it`);
  }
}

/** Thrown when an address or length given to a mapping call is misaligned or outside user space (EINVAL). */
export class InvalidMappingRangeError extends RangeError {
  override readonly name = "InvalidMappingRangeError";

  constructor(
    readonly start: number,
    readonly bytes: number,
    low: number,
    high: number,
  ) {
    super(
      `start ${hex(start)}, length ${bytes}: both must be multiples of 4096, the range not empty and inside [${hex(low)}, ${hex(high)})`,
    );
  }
}

/** Thrown when a range given to `mprotect` or `madviseDontneed` is not mapped throughout (ENOMEM). */
export class UnmappedRangeError extends Error {
  override readonly name = "UnmappedRangeError";

  constructor(
    readonly start: number,
    readonly end: number,
    readonly hole: number,
  ) {
    super(`[${hex(start)}, ${hex(end)}) is not mapped at ${hex(hole)}`);
  }
}

/** Thrown when MADV_DONTNEED is asked of memory without page records (EINVAL; kernel `VM_PFNMAP`). */
export class PfnMappingError extends Error {
  override readonly name = "PfnMappingError";
  readonly errno = "EINVAL";

  constructor(
    readonly start: number,
    readonly end: number,
  ) {
    super(`[${hex(start)}, ${hex(end)}) is backed memory: its pages cannot be dropped without munmap`);
  }
}

/** Thrown when a user access is not aligned to its own size. */
export class UserAccessAlignmentError extends RangeError {
  override readonly name = "UserAccessAlignmentError";

  constructor(
    readonly hva: number,
    readonly size: number,
  ) {
    super(`user access to ${size} bytes at hva ${hex(hva)}: the address must be a multiple of ${size}`);
  }
}

/** Thrown when a value for user memory does not fit into the bytes of the access. */
export class UserAccessValueError extends RangeError {
  override readonly name = "UserAccessValueError";

  constructor(
    readonly value: bigint,
    readonly size: number,
  ) {
    super(`value ${value} for a user access to ${size} bytes is outside [0, 2^${8 * size})`);
  }
}

/** Thrown when no gap of the address space is long enough for a mapping (ENOMEM). */
export class AddressSpaceExhaustedError extends Error {
  override readonly name = "AddressSpaceExhaustedError";

  constructor(
    readonly bytes: number,
    readonly low: number,
    readonly high: number,
  ) {
    super(`no gap of ${bytes} bytes in [${hex(low)}, ${hex(high)})`);
  }
}

/** Thrown when a mapping would exceed the number of VMAs (ENOMEM; kernel `sysctl_max_map_count`). */
export class MapCountError extends Error {
  override readonly name = "MapCountError";

  constructor(readonly limit: number) {
    super(`the address space has its limit of ${limit} mappings`);
  }
}

/** Thrown when a pfn is not one of the host's data pages, where one is needed. */
export class ForeignPfnError extends RangeError {
  override readonly name = "ForeignPfnError";

  constructor(
    readonly pfn: number,
    readonly first: number,
    readonly end: number,
  ) {
    super(`pfn ${hex(pfn)} is no host page; they are [${hex(first)}, ${hex(end)})`);
  }
}

/** Thrown when a page's reference count would fall below zero. */
export class PageReferenceError extends Error {
  override readonly name = "PageReferenceError";

  constructor(readonly pfn: number) {
    super(`pfn ${hex(pfn)}: a reference is dropped that nobody holds`);
  }
}

/** Thrown when page contents are read or written on a host made with `contents: false`. */
export class NoContentsError extends Error {
  override readonly name = "NoContentsError";

  constructor() {
    super("this host keeps no page contents; create it with contents: true");
  }
}

/** Thrown when offset or length of an access to the page_idle bitmap is not a multiple of 8 (EINVAL). */
export class PageIdleAlignmentError extends RangeError {
  override readonly name = "PageIdleAlignmentError";
  readonly errno = "EINVAL";

  constructor(
    readonly byteOffset: number,
    readonly length: number,
  ) {
    super(`page_idle bitmap: offset ${byteOffset} and length ${length} must be multiples of 8, 0 or more`);
  }
}

/** Thrown when the page_idle bitmap is written at or behind its end (ENXIO). */
export class PageIdleRangeError extends RangeError {
  override readonly name = "PageIdleRangeError";
  readonly errno = "ENXIO";

  constructor(
    readonly byteOffset: number,
    readonly end: number,
  ) {
    super(`page_idle bitmap: write at offset ${byteOffset}, the bitmap ends at ${end}`);
  }
}
