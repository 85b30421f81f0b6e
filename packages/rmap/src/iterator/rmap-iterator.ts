import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { descMore, descSpte, PTE_LIST_EXT, type PteListDesc } from "../descriptor/pte-list-desc.js";
import { isRmapMany, rmapDescriptor, rmapSingle } from "../head/kvm-rmap-head.js";

const NO_DESCRIPTOR = NULL_ADDRESS as PteListDesc;

/**
 * A walk over the slots of one list (kernel `rmap_get_first`, `rmap_get_next`): the first descriptor in index order, then each
 * older one. Held: the list's lock, or `mmu_lock` for write. A removal ends the walk; start it again. What the slots
 * hold is the caller's to load and judge.
 */
export class RmapIterator {
  private desc: PteListDesc = NO_DESCRIPTOR;
  private position = 0;

  /**
   * The first slot, or 0 if there is none.
   *
   * @param value what the list's lock returned, or `kvmRmapGet` under `mmu_lock`. A lockless walk that reads the head again
   * instead, as Linux 6.15 does, walks without the lock when the list was empty at first and has an entry by then.
   */
  getFirst(cpu: Cpu, value: bigint): Address {
    this.position = 0;
    if (!isRmapMany(value)) {
      this.desc = NO_DESCRIPTOR;
      return rmapSingle(value);
    }
    this.desc = rmapDescriptor(value);
    return descSpte(cpu, this.desc, 0);
  }

  /** The slot after the last one returned, or 0 at the end. */
  getNext(cpu: Cpu): Address {
    if (this.desc === NULL_ADDRESS) return NULL_ADDRESS;
    if (this.position < PTE_LIST_EXT - 1) {
      this.position++;
      const sptep = descSpte(cpu, this.desc, this.position);
      if (sptep !== NULL_ADDRESS) return sptep;
    }
    this.desc = descMore(cpu, this.desc);
    this.position = 0;
    return this.desc === NULL_ADDRESS ? NULL_ADDRESS : descSpte(cpu, this.desc, 0);
  }
}
