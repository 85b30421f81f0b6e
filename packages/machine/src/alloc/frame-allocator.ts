import {
  ALLOCATED_FRAMES_WORD,
  FIRST_FRAME_WORD,
  FRAME_BYTES,
  FREE_FRAMES_WORD,
  FRONTIER_WORD,
  WORDS_PER_FRAME,
} from "../arena/layout.js";
import type { Address } from "../cpu/address.js";
import type { Cpu } from "../cpu/cpu.js";
import { AllocatorCorruptionError, DoubleFreeError, ForeignFreeError, OutOfMemoryError } from "./errors.js";
import { FrameState, FrameTable } from "./frame-table.js";
import { allocateSpanFrames, carveFrame, freeSpanFrames } from "./spans.js";
import { popTagged, pushTagged } from "./tagged-stack.js";

const OWNER = "frame allocator";

/**
 * Hands out 4 KiB frames of the arena, one at a time (lock-free) or as contiguous spans (under a spinlock, for
 * arrays that are made rarely). Usable from every processor at once; all its state is in the arena.
 */
export class FrameAllocator {
  constructor(readonly table: FrameTable) {}

  /** Frames of the arena, the machine's own included. */
  get totalFrames(): number {
    return this.table.frameCount;
  }

  /** Frames handed out and not freed. Exact only while nobody allocates. */
  allocatedFrames(cpu: Cpu): number {
    return cpu.readOnce32(ALLOCATED_FRAMES_WORD);
  }

  /** Frames that could still be handed out, as singles. Exact only while nobody allocates. */
  availableFrames(cpu: Cpu): number {
    return this.totalFrames - cpu.readOnce32(FIRST_FRAME_WORD) - this.allocatedFrames(cpu);
  }

  /**
   * Allocates one frame, every word of it set to `fill`, its private word 0.
   *
   * @throws OutOfMemoryError if none is left.
   */
  allocateFrame(cpu: Cpu, fill = 0n): Address {
    const frame = this.takeFrame(cpu);
    const state = cpu.xchg32(this.table.stateWord(frame), FrameState.single, "relaxed");
    const address = FrameTable.addressOf(frame);
    if (state !== FrameState.free && state !== FrameState.neverUsed) {
      throw new AllocatorCorruptionError(OWNER, address, state);
    }
    cpu.writeOnce32(this.table.privateWord(frame), 0);
    cpu.memset64(address, fill, WORDS_PER_FRAME);
    cpu.fetchAdd32(ALLOCATED_FRAMES_WORD, 1, "relaxed");
    return address;
  }

  /**
   * Frees a frame of `allocateFrame`.
   *
   * @throws DoubleFreeError if it is free already.
   * @throws ForeignFreeError if it is not the address of such a frame.
   */
  freeFrame(cpu: Cpu, address: Address): void {
    const frame = this.checkedFrame(address);
    // One exchange decides between two frees of the same frame: only one of them finds it in use.
    const state = cpu.cmpxchg32(this.table.stateWord(frame), FrameState.single, FrameState.free, "full");
    if (state === FrameState.free || state === FrameState.freeSpanHead)
      throw new DoubleFreeError(OWNER, address);
    if (state !== FrameState.single) {
      throw new ForeignFreeError(OWNER, address, `the frame is in state ${state}`);
    }
    this.pushFrame(cpu, frame);
  }

  /** Turns a frame of `allocateFrame` into a slab's: `freeFrame` refuses it from now on. */
  markSlabFrame(cpu: Cpu, address: Address, slab: Address): void {
    const frame = FrameTable.frameOf(address);
    cpu.writeOnce32(this.table.privateWord(frame), slab);
    cpu.xchg32(this.table.stateWord(frame), FrameState.slab, "relaxed");
  }

  /** The control block of the slab that `address` belongs to, or 0 if it lies in no slab's frame. */
  slabOf(cpu: Cpu, address: Address): number {
    const frame = FrameTable.frameOf(address);
    if (frame >= this.totalFrames) return 0;
    if (cpu.readOnce32(this.table.stateWord(frame)) !== FrameState.slab) return 0;
    return cpu.readOnce32(this.table.privateWord(frame));
  }

  /**
   * Allocates `bytes` as contiguous zero-filled frames (`vmalloc`).
   *
   * @throws OutOfMemoryError if no run of that length is left.
   */
  allocateSpan(cpu: Cpu, bytes: number): Address {
    const frames = Math.max(1, Math.ceil(bytes / FRAME_BYTES));
    const head = allocateSpanFrames(cpu, this.table, frames);
    if (head === 0) throw this.outOfMemory(cpu, frames);
    const address = FrameTable.addressOf(head);
    cpu.memset64(address, 0n, frames * WORDS_PER_FRAME);
    cpu.fetchAdd32(ALLOCATED_FRAMES_WORD, frames, "relaxed");
    return address;
  }

  /**
   * Frees a span of `allocateSpan`.
   *
   * @throws DoubleFreeError or ForeignFreeError as `freeFrame` does.
   */
  freeSpan(cpu: Cpu, address: Address): void {
    const head = this.checkedFrame(address);
    const state = cpu.cmpxchg32(
      this.table.stateWord(head),
      FrameState.spanHead,
      FrameState.freeSpanHead,
      "full",
    );
    // A free span that was merged with the one before it is a body there.
    if (state === FrameState.freeSpanHead || state === FrameState.freeSpanBody || state === FrameState.free) {
      throw new DoubleFreeError(OWNER, address);
    }
    if (state !== FrameState.spanHead) {
      throw new ForeignFreeError(OWNER, address, `the frame is in state ${state}, not the start of a span`);
    }
    const frames = freeSpanFrames(cpu, this.table, head);
    cpu.fetchAdd32(ALLOCATED_FRAMES_WORD, -frames, "relaxed");
  }

  /** `page_private` of the frame that holds `address`: a u32 that belongs to the frame's owner. */
  readPrivate(cpu: Cpu, address: Address): Address {
    return cpu.readOnce32(this.table.privateWord(FrameTable.frameOf(address))) as Address;
  }

  writePrivate(cpu: Cpu, address: Address, value: Address): void {
    cpu.writeOnce32(this.table.privateWord(FrameTable.frameOf(address)), value);
  }

  private readonly linkWordOf = (frame: number): Address => this.table.privateWord(frame);

  private pushFrame(cpu: Cpu, frame: number): void {
    cpu.fetchAdd32(ALLOCATED_FRAMES_WORD, -1, "relaxed");
    pushTagged(cpu, FREE_FRAMES_WORD, frame, frame, this.linkWordOf);
  }

  private takeFrame(cpu: Cpu): number {
    const recycled = popTagged(cpu, FREE_FRAMES_WORD, this.linkWordOf);
    if (recycled !== 0) return recycled;
    const fresh = this.advanceFrontier(cpu);
    if (fresh !== 0) return fresh;
    const carved = carveFrame(cpu, this.table);
    if (carved !== 0) return carved;
    throw this.outOfMemory(cpu, 1);
  }

  /** The next frame that was never used, or 0. A lost exchange means another processor took that frame. */
  private advanceFrontier(cpu: Cpu): number {
    for (;;) {
      const frontier = cpu.loadAcquire32(FRONTIER_WORD);
      if (frontier >= this.totalFrames) return 0;
      if (cpu.cmpxchg32(FRONTIER_WORD, frontier, frontier + 1, "relaxed") === frontier) return frontier;
    }
  }

  private checkedFrame(address: Address): number {
    const frame = FrameTable.frameOf(address);
    if (address % FRAME_BYTES !== 0) throw new ForeignFreeError(OWNER, address, "not the address of a frame");
    if (frame >= this.totalFrames) throw new ForeignFreeError(OWNER, address, "beyond the end of the arena");
    return frame;
  }

  private outOfMemory(cpu: Cpu, frames: number): OutOfMemoryError {
    return new OutOfMemoryError(OWNER, frames, this.allocatedFrames(cpu), this.totalFrames);
  }
}
