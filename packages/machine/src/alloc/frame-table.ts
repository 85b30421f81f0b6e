import { FRAME_BYTES, frameTableAddress } from "../arena/layout.js";
import { type Address, offset } from "../cpu/address.js";

/** What a frame is used for: the first u32 of its entry in the frame table. */
export const FrameState = {
  /** Beyond the frontier. */
  neverUsed: 0,
  /** Single free frame; the second u32 links to the next one. */
  free: 1,
  /** Single frame in use; the second u32 is its owner's private word (`page_private`). */
  single: 2,
  /** Frame of a slab; the second u32 is the slab's control block. */
  slab: 3,
  /** First frame of a span in use; the second u32 is the span's length in frames. */
  spanHead: 4,
  /** Later frame of a span in use. */
  spanBody: 5,
  /** First frame of a free span of two or more; the second u32 links to the next free span. */
  freeSpanHead: 6,
  /** Later frame of a free span; the second u32 of the first of them is the span's length in frames. */
  freeSpanBody: 7,
} as const;

/** Addresses in the frame table, which holds two u32 for every frame of the arena. */
export class FrameTable {
  readonly address: Address;

  constructor(
    maxCpus: number,
    readonly frameCount: number,
  ) {
    this.address = frameTableAddress(maxCpus);
  }

  static bytes(frameCount: number): number {
    return frameCount * 8;
  }

  stateWord(frame: number): Address {
    return offset(this.address, frame * 8);
  }

  privateWord(frame: number): Address {
    return offset(this.address, frame * 8 + 4);
  }

  /** The frame that `address` lies in. */
  static frameOf(address: Address): number {
    return Math.floor(address / FRAME_BYTES);
  }

  static addressOf(frame: number): Address {
    return (frame * FRAME_BYTES) as Address;
  }
}
