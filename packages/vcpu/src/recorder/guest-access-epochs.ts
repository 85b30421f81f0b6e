import { type Address, type Cpu, type FrameAllocator, offset } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import type { GuestAccessRecorder } from "./guest-access-recorder.js";
import {
  checkRecorderRange,
  type RecorderHandle,
  type RecorderInit,
  type RecorderMachine,
} from "./recorder-range.js";

/** The epoch word stands alone in its line: every access of every vCPU reads it. */
const EPOCHS = 64;
const FIRST_EPOCH = 1;

/** The epoch of each frame's last access, TLB hits included; shared by all vCPUs of a VM. Epochs are u32, from 1. */
export class GuestAccessEpochs implements GuestAccessRecorder {
  /** Use `createGuestAccessEpochs` or `attachGuestAccessEpochs`. */
  constructor(
    private readonly frames: FrameAllocator,
    readonly handle: RecorderHandle,
  ) {}

  /**
   * Stores the current epoch, if it is not there yet. Plain accesses: vCPUs that meet store the same epoch, or, while it
   * advances, one of two neighbouring ones. A thread that is descheduled between its access and this record dates the access
   * too late.
   */
  recordAccess(cpu: Cpu, page: number): void {
    const index = page - this.handle.startGfn;
    if (index < 0 || index >= this.handle.pages) return;
    const epoch = cpu.readOnce32(this.handle.address);
    const word = this.wordOf(index);
    if (cpu.readOnce32(word) !== epoch) cpu.writeOnce32(word, epoch);
  }

  /** The current epoch. */
  epoch(cpu: Cpu): number {
    return cpu.readOnce32(this.handle.address);
  }

  /** Begins the next epoch and returns it. An access under way may still record the one before. */
  advanceEpoch(cpu: Cpu): number {
    return cpu.fetchAdd32(this.handle.address, 1, "full") + 1;
  }

  /** Epoch of the frame's last access; 0 if there was none, or outside the range. */
  lastAccess(cpu: Cpu, gfn: Gfn): number {
    const index = gfn - this.handle.startGfn;
    return index < 0 || index >= this.handle.pages ? 0 : cpu.readOnce32(this.wordOf(index));
  }

  destroy(cpu: Cpu): void {
    this.frames.freeSpan(cpu, this.handle.address);
  }

  private wordOf(index: number): Address {
    return offset(this.handle.address, EPOCHS + index * 4);
  }
}

/**
 * Makes the record, 4 bytes per page, in epoch 1.
 *
 * @throws RecorderRangeError, OutOfMemoryError
 */
export function createGuestAccessEpochs(
  cpu: Cpu,
  machine: RecorderMachine,
  init: RecorderInit,
): GuestAccessEpochs {
  checkRecorderRange(init);
  const { startGfn, pages } = init;
  const address = machine.frames.allocateSpan(cpu, EPOCHS + pages * 4);
  cpu.writeOnce32(address, FIRST_EPOCH);
  return new GuestAccessEpochs(machine.frames, { address, startGfn, pages });
}

/** This thread's view of the record. */
export function attachGuestAccessEpochs(machine: RecorderMachine, handle: RecorderHandle): GuestAccessEpochs {
  return new GuestAccessEpochs(machine.frames, handle);
}
