import { type Address, type Cpu, offset, type Slab, type SlabHandle } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { gfnToMemslotInSet } from "../lookup/search-memslots.js";
import type { MetadataArrays } from "../metadata/metadata-arrays.js";
import { SLOT_SET_BYTES, type SlotSet, setGeneration } from "../set/slot-set.js";
import type { Slot } from "../slot/slot.js";
import { type KvmLocks, kvmLocksAt } from "./kvm-locks.js";
import { MEMSLOT_WARNINGS, type MemslotWarning } from "./memslot-warning.js";
import type { MemslotsOptions } from "./memslots-init.js";
import {
  MEMSLOTS_ACTIVE_SETS,
  MEMSLOTS_MMU_INVALIDATE_SEQ,
  MEMSLOTS_NR_DIRTY_LOGGING,
  MEMSLOTS_NR_PAGES,
  MEMSLOTS_SETS,
  MEMSLOTS_WARNINGS,
} from "./memslots-layout.js";

/** Memslots as plain data, to be sent to other threads. */
export interface MemslotsHandle {
  readonly address: Address;
  readonly options: MemslotsOptions;
  readonly slotSlab: SlabHandle;
  readonly arraySlabs: readonly SlabHandle[];
}

/**
 * The slot part of one VM (`struct kvm`): locks, slot sets, the invalidation state. The object holds
 * addresses and constants only; every thread has its own. Lookups need a read section of `locks.srcu`, or
 * `locks.slotsLock`.
 */
export class Memslots {
  readonly address: Address;
  readonly options: MemslotsOptions;
  readonly locks: KvmLocks;

  /** Use `createMemslots` or `attachMemslots`. */
  constructor(
    address: Address,
    options: MemslotsOptions,
    readonly slotSlab: Slab,
    readonly arrays: MetadataArrays,
  ) {
    this.address = address;
    this.options = options;
    this.locks = kvmLocksAt(address);
  }

  /** Data from which another thread makes its own view with `attachMemslots`. */
  get handle(): MemslotsHandle {
    const { address, options } = this;
    return { address, options, slotSlab: this.slotSlab.handle, arraySlabs: this.arrays.handles };
  }

  /** Address spaces of the VM, 1 or 2. */
  get nrAddressSpaces(): number {
    return this.options.nrAddressSpaces;
  }

  /** Where the active set of an address space is published. */
  activeSetWord(asId: number): Address {
    return offset(this.address, MEMSLOTS_ACTIVE_SETS + asId * 4);
  }

  /** Set 0 or 1 of an address space, active or not. */
  setAt(asId: number, index: number): SlotSet {
    return offset(this.address, MEMSLOTS_SETS + (asId * 2 + index) * SLOT_SET_BYTES) as SlotSet;
  }

  /**
   * The active set of an address space (`__kvm_memslots`). The acquire pairs with the release in
   * `kvmSwapActiveMemslots`: whoever sees the set sees its slots.
   */
  kvmMemslots(cpu: Cpu, asId: number): SlotSet {
    return cpu.loadAcquire32(this.activeSetWord(asId)) as SlotSet;
  }

  /** The set that may be edited under `slots_lock` (`kvm_get_inactive_memslots`). */
  inactiveMemslots(cpu: Cpu, asId: number): SlotSet {
    const first = this.setAt(asId, 0);
    return this.kvmMemslots(cpu, asId) === first ? this.setAt(asId, 1) : first;
  }

  /** The slot that contains `gfn`, INVALID ones included, or `NULL_SLOT` (`gfn_to_memslot`). */
  gfnToMemslot(cpu: Cpu, asId: number, gfn: Gfn): Slot {
    return gfnToMemslotInSet(cpu, this.kvmMemslots(cpu, asId), gfn);
  }

  /** Generation of the active set; bit 63 is set while an update is in progress. */
  generation(cpu: Cpu, asId: number): bigint {
    return setGeneration(cpu, this.kvmMemslots(cpu, asId));
  }

  /** Pages of all slots of all address spaces (`nr_memslot_pages`). Held: `slots_lock`. */
  nrMemslotPages(cpu: Cpu): bigint {
    return cpu.readOnce(offset(this.address, MEMSLOTS_NR_PAGES));
  }

  /** Slots whose dirty pages are logged (`nr_memslots_dirty_logging`). */
  nrMemslotsDirtyLogging(cpu: Cpu): number {
    return cpu.readOnce32(offset(this.address, MEMSLOTS_NR_DIRTY_LOGGING));
  }

  /**
   * Invalidations that ended so far (`mmu_invalidate_seq`). A fault reads it, then calls `cpu.smpRmb()`, then
   * looks its page up: the barrier pairs with the one in `kvmMmuInvalidateEnd`.
   */
  mmuInvalidateSeq(cpu: Cpu): bigint {
    return cpu.readOnce(offset(this.address, MEMSLOTS_MMU_INVALIDATE_SEQ));
  }

  /** How often a warning condition was met. Not 0 means that somebody broke a rule. */
  warningCount(cpu: Cpu, warning: MemslotWarning): number {
    return cpu.readOnce32(this.warningWord(warning));
  }

  /** Counts a warning; the kernel would print it once. */
  warn(cpu: Cpu, warning: MemslotWarning): void {
    cpu.fetchAdd32(this.warningWord(warning), 1, "relaxed");
  }

  private warningWord(warning: MemslotWarning): Address {
    return offset(this.address, MEMSLOTS_WARNINGS + MEMSLOT_WARNINGS.indexOf(warning) * 4);
  }
}
