import { MAX_ARENA_BYTES } from "@kvm-age/machine";
import { UsageError } from "../options/errors.js";
import { MMU_SHAPES } from "./mmu-shape.js";
import type { VmConfig } from "./vm-config.js";

/** Machine, tables above the leaves, per-processor stocks, TLBs: what a small VM takes as well. */
const FIXED_BYTES = 24 << 20;
/** SPTE 8, host PTE 8, page record 20, and an eighth more for tables that are not full. */
const BYTES_PER_GUEST_PAGE = 18;
const BYTES_PER_HOST_PAGE = 21;
const BYTES_PER_SWAP_SLOT = 5;
const CONTENT_BYTES = 8;
const EPOCH_BYTES = 4;
const PER_VCPU_BYTES = 1 << 20;
/** Rmap head 8, SPTE 8, recorded translation 8, and the guest's own entry 8 with its frame's record, a quarter more for headers. */
const BYTES_PER_SHADOWED_PAGE = 40;

/** Thrown when a VM would need more state than an arena can hold. */
export class GuestTooLargeError extends UsageError {
  override readonly name = "GuestTooLargeError";

  constructor(
    readonly guestBytes: number,
    readonly fittingBytes: number,
  ) {
    super(
      `${guestBytes} bytes of guest memory do not fit into an arena of ${MAX_ARENA_BYTES} bytes; about ${fittingBytes} bytes (${Math.floor(fittingBytes / 2 ** 30)}G) would`,
    );
  }
}

function bytesPerPage(config: VmConfig): number {
  const host = config.hostPages / config.guestPages;
  const swap = config.swapSlots / config.guestPages;
  const contents = config.contents ? CONTENT_BYTES * (host + swap) : 0;
  const epochs = config.recordAccesses ? EPOCH_BYTES : 0;
  const shadowed = MMU_SHAPES[config.mmu].shadowMmu ? BYTES_PER_SHADOWED_PAGE : 0;
  return (
    BYTES_PER_GUEST_PAGE +
    shadowed +
    BYTES_PER_HOST_PAGE * host +
    BYTES_PER_SWAP_SLOT * swap +
    contents +
    epochs
  );
}

/**
 * Bytes of the arena for a VM, with some to spare: memory that is not touched costs nothing.
 *
 * @throws GuestTooLargeError with what would fit.
 */
export function arenaBytesFor(config: VmConfig): number {
  const fixed = FIXED_BYTES + PER_VCPU_BYTES * config.vcpus;
  const perPage = bytesPerPage(config);
  const bytes = fixed + perPage * config.guestPages;
  if (bytes > MAX_ARENA_BYTES) {
    throw new GuestTooLargeError(
      config.guestPages * 4096,
      Math.floor((MAX_ARENA_BYTES - fixed) / perPage) * 4096,
    );
  }
  return bytes;
}
