import type { Address, Cpu } from "@kvm-age/machine";
import type { FrameRecords } from "../page-table/frame-records.js";

/**
 * Frames that one unmap took out of the page tables and has yet to free (kernel `struct mmu_gather`). Lives as long as the
 * operation, and belongs to it alone.
 */
export class MmuGather {
  private readonly frames: Address[] = [];

  constructor(private readonly frameRecords: FrameRecords) {}

  /** `tlb_remove_table`, `tlb_remove_page`: the last entry that led to `frame` is cleared. */
  remove(frame: Address): void {
    this.frames.push(frame);
  }

  /**
   * `tlb_finish_mmu`, after the bracket: hands the frames over. The kernel first flushes the primary TLBs, which waits for every
   * processor that may still use a translation; here an access holds a read section for as long as it uses one, and the grace period
   * is the wait. So a frame is reused only when nobody can reach it: KVM dropped its translations in the bracket, the entries
   * were cleared in it, and accesses that had found them have ended.
   */
  finish(cpu: Cpu): void {
    for (const frame of this.frames) this.frameRecords.freeAfterGracePeriod(cpu, frame);
  }
}
