import {
  type Address,
  type Cpu,
  FRAME_BYTES,
  type FrameAllocator,
  NULL_ADDRESS,
  offset,
  RCU_HEAD_BYTES,
  type RcuCallback,
} from "@kvm-age/machine";

/** u32: tables in the batch; their addresses follow. */
const COUNT_OFFSET = RCU_HEAD_BYTES;
const TABLES_OFFSET = RCU_HEAD_BYTES + 8;
const BATCH_CAPACITY = Math.floor((FRAME_BYTES - TABLES_OFFSET) / 4);

/**
 * What frees the tables of a batch and the frame that lists them, after a grace period (kernel
 * `tlb_remove_table_rcu`). Lockless walkers may be inside the tables until then.
 */
export function createTableFreer(
  frames: FrameAllocator,
  freeTable: (cpu: Cpu, table: Address) => void,
  id: number,
): RcuCallback {
  return {
    id,
    run(cpu: Cpu, batch: Address): void {
      const count = cpu.readOnce32(offset(batch, COUNT_OFFSET));
      for (let index = 0; index < count; index++) {
        freeTable(cpu, cpu.readOnce32(offset(batch, TABLES_OFFSET + index * 4)) as Address);
      }
      frames.freeFrame(cpu, batch);
    },
  };
}

/** Collects unlinked tables and hands them over in frames of addresses (kernel `struct mmu_table_batch`). */
export class TableBatch {
  private batch: Address = NULL_ADDRESS;

  constructor(
    private readonly frames: FrameAllocator,
    private readonly freer: RcuCallback,
  ) {}

  /** `tlb_remove_table`: `table` is unlinked and is freed after a grace period. */
  add(cpu: Cpu, table: Address): void {
    if (this.batch === NULL_ADDRESS) this.batch = this.frames.allocateFrame(cpu);
    const count = cpu.readOnce32(offset(this.batch, COUNT_OFFSET));
    cpu.writeOnce32(offset(this.batch, TABLES_OFFSET + count * 4), table);
    cpu.writeOnce32(offset(this.batch, COUNT_OFFSET), count + 1);
    if (count + 1 === BATCH_CAPACITY) this.flush(cpu);
  }

  /** `tlb_table_flush`: hands over what was collected. */
  flush(cpu: Cpu): void {
    if (this.batch === NULL_ADDRESS) return;
    cpu.callRcu(this.batch, this.freer);
    this.batch = NULL_ADDRESS;
  }
}
