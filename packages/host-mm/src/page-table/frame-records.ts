import {
  type Address,
  type Cpu,
  FRAME_BYTES,
  type FrameAllocator,
  offset,
  type RcuCallback,
  type Slab,
} from "@kvm-age/machine";

/** Bytes of a frame record: a cache line, so that no two locks share one. */
export const FRAME_RECORD_BYTES = 64;

/** Spinlock of the page table in the frame (kernel `ptdesc->ptl`); unused if the frame holds data. */
const RECORD_LOCK = 0;
/** `rcu_head` (kernel `ptdesc->pt_rcu_head`): outside the frame, because whoever frees the frame may not write into it. */
const RECORD_RCU_HEAD = 16;
/** u32: address of the frame, for the callback, which is given the record. */
const RECORD_FRAME = 32;

/**
 * Arena frames that processors reach through the primary page tables without locks, and so outlive their last entry
 * by a grace period: tables, and frames of backed memory. Each has a record, whose address is its private word.
 *
 * Because the `rcu_head` comes with the frame, freeing allocates nothing and cannot fail.
 */
export class FrameRecords {
  private readonly freer: RcuCallback;

  constructor(
    private readonly frames: FrameAllocator,
    private readonly slab: Slab,
  ) {
    this.freer = {
      id: slab.address,
      run: (cpu, head) => this.free(cpu, frameOf(cpu, offset(head, -RECORD_RCU_HEAD))),
    };
  }

  /**
   * A frame of zeros with its record, reachable for nobody.
   *
   * @throws OutOfMemoryError if the arena has no room for both; then neither is taken.
   */
  allocate(cpu: Cpu): Address {
    const record = this.slab.allocate(cpu);
    try {
      const frame = this.frames.allocateFrame(cpu);
      cpu.writeOnce32(offset(record, RECORD_FRAME), frame);
      this.frames.writePrivate(cpu, frame, record);
      return frame;
    } catch (error) {
      this.slab.free(cpu, record);
      throw error;
    }
  }

  /** Frees a frame that nobody can reach. */
  free(cpu: Cpu, frame: Address): void {
    const record = this.frames.readPrivate(cpu, frame);
    this.frames.freeFrame(cpu, frame);
    this.slab.free(cpu, record);
  }

  /**
   * Frees a frame that no entry points to any more once every read section that may have found it has ended
   * (kernel `pte_free_defer`, `tlb_remove_page`).
   */
  freeAfterGracePeriod(cpu: Cpu, frame: Address): void {
    cpu.callRcu(offset(this.frames.readPrivate(cpu, frame), RECORD_RCU_HEAD), this.freer);
  }

  /** Address of the lock of the page table that `entry` lies in. */
  lockOf(cpu: Cpu, entry: Address): Address {
    return offset(this.frames.readPrivate(cpu, entry), RECORD_LOCK);
  }

  /** Whether `frame` is in use and its record names it. */
  owns(cpu: Cpu, frame: Address): boolean {
    if (frame >= this.frames.totalFrames * FRAME_BYTES) return false;
    const record = this.frames.readPrivate(cpu, frame);
    return this.frames.slabOf(cpu, record) === this.slab.address && frameOf(cpu, record) === frame;
  }
}

function frameOf(cpu: Cpu, record: Address): Address {
  return cpu.readOnce32(offset(record, RECORD_FRAME)) as Address;
}
