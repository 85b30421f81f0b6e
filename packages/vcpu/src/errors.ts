/** Thrown when a vCPU is made with paging options that no processor has. */
export class UnsupportedPagingModeError extends RangeError {
  override readonly name = "UnsupportedPagingModeError";

  constructor(
    readonly option: string,
    readonly given: string,
    readonly allowed: string,
  ) {
    super(`paging mode: ${option} is ${given}; allowed: ${allowed}`);
  }
}

/** Thrown when a vCPU is made with a TLB that cannot be indexed. */
export class TlbGeometryError extends RangeError {
  override readonly name = "TlbGeometryError";

  constructor(
    readonly pageSize: string,
    readonly entries: number,
    readonly ways: number,
  ) {
    super(
      `TLB for ${pageSize} pages: ${entries} entries in ${ways} ways; entries / ways must be a power of two, ` +
        "entries in [1, 65536], ways in [1, entries]",
    );
  }
}

/** Thrown when a vCPU joins a flush domain that has all its members already. */
export class FlushDomainFullError extends RangeError {
  override readonly name = "FlushDomainFullError";

  constructor(readonly maxMembers: number) {
    super(`flush domain: all ${maxMembers} members have joined`);
  }
}

/** Thrown when an access is not at an integer address, or outside the guest-physical address space that the page tables span. */
export class GuestAddressRangeError extends RangeError {
  override readonly name = "GuestAddressRangeError";

  constructor(
    readonly gpa: number,
    readonly limit: number,
  ) {
    super(`guest-physical address ${gpa} is not an integer in [0, 0x${limit.toString(16)})`);
  }
}

/** Thrown when a guest-linear address is not an integer, or outside what the guest's paging mode can translate. */
export class GuestLinearAddressError extends RangeError {
  override readonly name = "GuestLinearAddressError";

  constructor(
    readonly gva: number,
    readonly limit: number,
  ) {
    super(`guest-linear address ${gva} is not an integer in [0, 0x${limit.toString(16)})`);
  }
}

/** Thrown when a guest loads or stores a value at an address that is not a multiple of eight. */
export class MisalignedGuestAccessError extends RangeError {
  override readonly name = "MisalignedGuestAccessError";

  constructor(readonly address: number) {
    super(`guest load or store of 8 bytes at ${address}; must be a multiple of 8`);
  }
}

/** Thrown when a guest loads a paging register with a value that no guest can have. */
export class InvalidGuestPagingError extends RangeError {
  override readonly name = "InvalidGuestPagingError";

  constructor(
    readonly register: string,
    readonly given: string,
    readonly allowed: string,
  ) {
    super(`guest paging: ${register} is ${given}; allowed: ${allowed}`);
  }
}

/** Thrown when the MMU answers "inject" and has not queued a page fault with `injectPageFault`. */
export class NothingToInjectError extends Error {
  override readonly name = "NothingToInjectError";

  constructor(readonly member: number) {
    super(`vCPU ${member}: the MMU injects a page fault, and none is queued`);
  }
}

/** Thrown when `VcpuMmu.load` returned and there still is no root table to walk from. */
export class RootNotLoadedError extends Error {
  override readonly name = "RootNotLoadedError";

  constructor(readonly member: number) {
    super(`vCPU ${member}: no root table after load; the guest cannot be entered`);
  }
}

/** Thrown when a recorder is made for a range of frames that it cannot hold. */
export class RecorderRangeError extends RangeError {
  override readonly name = "RecorderRangeError";

  constructor(
    readonly startGfn: number,
    readonly pages: number,
  ) {
    super(
      `recorder: ${pages} pages from gfn ${startGfn}; both must be integers, pages in [1, 2^30], ` +
        "all of the range below 2^40",
    );
  }
}
