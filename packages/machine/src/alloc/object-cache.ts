import { type Address, offset } from "../cpu/address.js";
import type { Cpu } from "../cpu/cpu.js";
import { CacheExhaustedError, OutOfMemoryError } from "./errors.js";

/** Where a cache gets its objects and returns what is left. */
export interface ObjectSource {
  readonly name: string;
  allocate(cpu: Cpu): Address;
  free(cpu: Cpu, object: Address): void;
}

/** Bytes of a cache for `capacity` objects. */
export function objectCacheBytes(capacity: number): number {
  return 8 + Math.ceil(capacity / 2) * 8;
}

/**
 * A per-processor stock of objects (`kvm_mmu_memory_cache`): filled where allocation may wait or fail, emptied where
 * it may do neither. Its words are in the arena but belong to one processor, so its accesses need no order.
 */
export class ObjectCache {
  constructor(
    readonly address: Address,
    readonly capacity: number,
    private readonly source: ObjectSource,
  ) {}

  count(cpu: Cpu): number {
    return cpu.readOnce32(this.address);
  }

  /**
   * `kvm_mmu_topup_memory_cache`: if fewer than `minimum` objects are in stock, fills up to the capacity, or as far as the source
   * goes.
   *
   * @throws OutOfMemoryError if the source is exhausted before `minimum`; what was filled so far stays in stock.
   */
  topUp(cpu: Cpu, minimum: number): void {
    if (this.count(cpu) >= minimum) return;
    try {
      this.fill(cpu);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError) || this.count(cpu) < minimum) throw error;
    }
  }

  /**
   * `kvm_mmu_memory_cache_alloc`: takes one object out of the stock.
   *
   * @throws CacheExhaustedError if there is none: the operation needs more than it topped up.
   */
  allocate(cpu: Cpu): Address {
    const count = this.count(cpu);
    if (count === 0) throw new CacheExhaustedError(this.source.name, this.capacity);
    cpu.writeOnce32(this.address, count - 1);
    return cpu.readOnce32(this.objectWord(count - 1)) as Address;
  }

  /** `kvm_mmu_free_memory_cache`: returns the whole stock to the source. */
  drain(cpu: Cpu): void {
    while (this.count(cpu) > 0) this.source.free(cpu, this.allocate(cpu));
  }

  private fill(cpu: Cpu): void {
    for (let count = this.count(cpu); count < this.capacity; count++) {
      cpu.writeOnce32(this.objectWord(count), this.source.allocate(cpu));
      cpu.writeOnce32(this.address, count + 1);
    }
  }

  private objectWord(index: number): Address {
    return offset(this.address, 8 + index * 4);
  }
}
