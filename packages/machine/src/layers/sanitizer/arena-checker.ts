import type { FrameAllocator } from "../../alloc/frame-allocator.js";
import { FrameState, FrameTable } from "../../alloc/frame-table.js";
import { slabFrameLayout, slabObjectBytesWord } from "../../alloc/slab.js";
import { FIRST_FRAME_WORD, FRAME_BYTES, FREE_FRAMES_WORD, SIGNATURE_WORD } from "../../arena/layout.js";
import { type Address, offset } from "../../cpu/address.js";
import type { Cpu } from "../../cpu/cpu.js";
import {
  AllocationOverflowError,
  type ArenaUse,
  frameStateName,
  MachineMemoryError,
  NeverAllocatedError,
  NullPageAccessError,
  OutOfArenaError,
  SlabRedzoneError,
  UseAfterFreeError,
} from "./errors.js";

/**
 * Decides whether a range of the arena may be used, from the frame table and the slabs' bitmaps.
 *
 * The allocators work through the same `Cpu` as their users, so their metadata is open to everybody: the header words from
 * the signature to the free-frame stack, the frame table, and a slab frame's bitmap and links.
 */
export class ArenaChecker {
  private readonly table: FrameTable;
  private readonly arenaBytes: number;
  private readonly firstFrame: number;

  constructor(
    private readonly cpu: Cpu,
    frames: FrameAllocator,
  ) {
    this.table = frames.table;
    this.arenaBytes = frames.totalFrames * FRAME_BYTES;
    this.firstFrame = cpu.readOnce32(FIRST_FRAME_WORD);
  }

  /** @throws OutOfArenaError unless the range is wholly inside the arena. */
  checkInside(what: ArenaUse): void {
    const { address, bytes } = what;
    if (!(Number.isInteger(address) && address >= 0 && address + bytes <= this.arenaBytes)) {
      throw new OutOfArenaError(what, this.arenaBytes);
    }
  }

  /** @throws the error class that names why the range, which is inside the arena, may not be used. */
  checkAllocated(what: ArenaUse): void {
    if (what.bytes === 0) return;
    const frame = Math.floor(what.address / FRAME_BYTES);
    if (frame < this.firstFrame) this.checkMachineMemory(what);
    else this.checkFrame(what, frame, this.cpu.readOnce32(this.table.stateWord(frame)));
  }

  private checkFrame(what: ArenaUse, frame: number, state: number): void {
    switch (state) {
      case FrameState.single:
        this.checkEnd(what, state, frame + 1);
        break;
      case FrameState.spanHead:
      case FrameState.spanBody:
        this.checkEnd(what, state, this.spanEnd(frame, what));
        break;
      case FrameState.slab:
        this.checkSlab(what, frame);
        break;
      case FrameState.neverUsed:
        throw new NeverAllocatedError(what);
      default:
        throw new UseAfterFreeError(what, frameStateName(state), null);
    }
  }

  private checkMachineMemory(what: ArenaUse): void {
    const end = what.address + what.bytes;
    if (
      what.address >= this.table.address &&
      end <= this.table.address + FrameTable.bytes(this.table.frameCount)
    )
      return;
    if (what.address >= FRAME_BYTES) throw new MachineMemoryError(what);
    if (what.address < SIGNATURE_WORD || end > offset(FREE_FRAMES_WORD, 8))
      throw new NullPageAccessError(what);
  }

  private checkEnd(what: ArenaUse, state: number, endFrame: number): void {
    const end = endFrame * FRAME_BYTES;
    if (what.address + what.bytes <= end) return;
    throw new AllocationOverflowError(what, frameStateName(state), null, end);
  }

  /** The first frame behind the span of `frame`, looking no further than the range reaches. */
  private spanEnd(frame: number, { address, bytes }: ArenaUse): number {
    const last = Math.floor((address + bytes - 1) / FRAME_BYTES);
    let end = frame + 1;
    while (end <= last && this.cpu.readOnce32(this.table.stateWord(end)) === FrameState.spanBody) end++;
    return end;
  }

  private checkSlab(what: ArenaUse, frame: number): void {
    const slab = this.cpu.readOnce32(this.table.privateWord(frame)) as Address;
    const objectBytes = this.cpu.readOnce32(slabObjectBytesWord(slab));
    const { headerBytes, objectsOffset, objects } = slabFrameLayout(objectBytes);
    const within = what.address % FRAME_BYTES;
    if (within + what.bytes <= headerBytes) return;
    const index = Math.floor((within - objectsOffset) / objectBytes);
    if (index < 0 || index >= objects) throw new SlabRedzoneError(what, objectBytes);
    this.checkObject(what, FrameTable.addressOf(frame), index, objectBytes);
    const end = what.address - within + objectsOffset + (index + 1) * objectBytes;
    if (what.address + what.bytes > end) throw new AllocationOverflowError(what, "slab", objectBytes, end);
  }

  private checkObject(what: ArenaUse, frame: Address, index: number, objectBytes: number): void {
    // Wrapped although it is in range: see `popTagged`.
    const bits = BigInt.asUintN(64, this.cpu.readOnce(offset(frame, Math.floor(index / 64) * 8)));
    if (((bits >> BigInt(index % 64)) & 1n) === 0n) throw new UseAfterFreeError(what, "slab", objectBytes);
  }
}
