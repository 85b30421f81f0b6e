import { type Address, FRAME_BYTES, type FrameAllocator, NULL_ADDRESS } from "@kvm-age/machine";

/**
 * The bytes of guest memory: a host frame that lies in the arena has them. Every other frame has none; it reads as 0 and what
 * is written to it is dropped.
 */
export class GuestFrames {
  constructor(private readonly frames: FrameAllocator) {}

  /** Where the byte of a host frame lies that an address points to, `NULL_ADDRESS` if the frame has no bytes. */
  byteOf(pfn: number, address: number): Address {
    if (pfn >= this.frames.totalFrames) return NULL_ADDRESS;
    return (pfn * FRAME_BYTES + (address % FRAME_BYTES)) as Address;
  }
}
