import { type Address, type Cpu, type FrameAllocator, offset } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import type { GuestWriteRecorder } from "./guest-write-recorder.js";
import {
  checkRecorderRange,
  type RecorderHandle,
  type RecorderInit,
  type RecorderMachine,
} from "./recorder-range.js";

const BITS = 32;

/** A bit per frame that was written since it was last taken; shared by all vCPUs of a VM. */
export class GuestWriteBitmap implements GuestWriteRecorder {
  /** Use `createGuestWriteBitmap` or `attachGuestWriteBitmap`. */
  constructor(
    private readonly frames: FrameAllocator,
    readonly handle: RecorderHandle,
  ) {}

  /**
   * Sets the frame's bit. If it is set already, the read is the record: whoever takes the bit later takes this write with
   * it. Else one atomic OR, since neighbours share the word. Either way the caller's touch of the page comes after.
   */
  recordWrite(cpu: Cpu, page: number): void {
    const index = page - this.handle.startGfn;
    if (index < 0 || index >= this.handle.pages) return;
    const word = this.wordOf(index);
    const bit = (1 << (index % BITS)) >>> 0;
    if ((cpu.readOnce32(word) & bit) === 0) cpu.fetchOr32(word, bit, "full");
  }

  /** Whether the frame was written since it was last taken; false outside the range. */
  wasWritten(cpu: Cpu, gfn: Gfn): boolean {
    const index = gfn - this.handle.startGfn;
    if (index < 0 || index >= this.handle.pages) return false;
    return ((cpu.readOnce32(this.wordOf(index)) >>> (index % BITS)) & 1) !== 0;
  }

  /**
   * Takes all records: calls `visit` for each written frame in ascending order and clears its bit. Each word is taken by
   * one atomic exchange, so a write during the call is seen by this call or by the next one, never by neither. Returns
   * the number of frames.
   */
  takeWrites(cpu: Cpu, visit: (gfn: Gfn) => void): number {
    const { startGfn, pages } = this.handle;
    let taken = 0;
    for (let first = 0; first < pages; first += BITS) {
      const word = this.wordOf(first);
      if (cpu.readOnce32(word) === 0) continue;
      for (let bits = cpu.xchg32(word, 0, "full"); bits !== 0; bits = (bits & (bits - 1)) >>> 0) {
        // The lowest set bit has 31 - index leading zeros.
        visit((startGfn + first + 31 - Math.clz32(bits & -bits)) as Gfn);
        taken++;
      }
    }
    return taken;
  }

  destroy(cpu: Cpu): void {
    this.frames.freeSpan(cpu, this.handle.address);
  }

  private wordOf(index: number): Address {
    return offset(this.handle.address, Math.floor(index / BITS) * 4);
  }
}

/**
 * Makes a bitmap, a bit per page.
 *
 * @throws RecorderRangeError, OutOfMemoryError
 */
export function createGuestWriteBitmap(
  cpu: Cpu,
  machine: RecorderMachine,
  init: RecorderInit,
): GuestWriteBitmap {
  checkRecorderRange(init);
  const { startGfn, pages } = init;
  const address = machine.frames.allocateSpan(cpu, Math.ceil(pages / BITS) * 4);
  return new GuestWriteBitmap(machine.frames, { address, startGfn, pages });
}

/** This thread's view of a bitmap. */
export function attachGuestWriteBitmap(machine: RecorderMachine, handle: RecorderHandle): GuestWriteBitmap {
  return new GuestWriteBitmap(machine.frames, handle);
}
