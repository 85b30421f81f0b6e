import { type Address, type Cpu, type LockClass, offset, type SpinLock } from "@kvm-age/machine";
import { SWAP_FREE, SWAP_FRONTIER, SWAP_LOCK, SWAP_USED } from "../mm/mm-layout.js";
import { NULL_PAGE, type Page } from "../page/mem-map.js";

/** Lock class of the free slots. */
export const SWAP_LOCK_CLASS: LockClass = { name: "si->lock", sleeps: false };

/** No slot. */
export const NULL_SLOT = 0;

/** A PTE holds the slot (kernel: count 1 in `swap_map`). */
const SLOT_MAPPED = 0x80000000;
/** A page in the swap cache holds the slot (kernel `SWAP_HAS_CACHE`); its number is in the low bits. */
const SLOT_HAS_CACHE = 0x40000000;
const SLOT_PAGE_MASK = 0x3fffffff;

/** Where a swap device's state lies in the arena. */
export interface SwapHandle {
  /** The control block (mm-layout.ts). */
  readonly mm: Address;
  /** u32 for every slot, slot 0 included. */
  readonly map: Address;
  /** u64 for every slot, or 0 if the host keeps no contents. */
  readonly contents: Address;
  /** Slots 1 … `slots`. */
  readonly slots: number;
}

/**
 * A swap device in memory (kernel `struct swap_info_struct`) with its swap cache. The word of a slot in use says whether a
 * PTE and which page of the swap cache hold it; it is free when neither does. Words change by single exchanges, so
 * of the two holders the one that lets go last is known, and frees the slot.
 */
export class SwapDevice {
  private readonly lock: SpinLock;

  constructor(private readonly handle: SwapHandle) {
    this.lock = { kind: "spinlock", address: offset(handle.mm, SWAP_LOCK), lockClass: SWAP_LOCK_CLASS };
  }

  get slots(): number {
    return this.handle.slots;
  }

  /** Slots in use. Exact only while nobody swaps. */
  usedSlots(cpu: Cpu): number {
    return cpu.readOnce32(this.word(SWAP_USED));
  }

  /** `vm_swap_full`: more than half of the slots are in use, so that swapped-in pages give theirs back at once. */
  vmSwapFull(cpu: Cpu): boolean {
    return this.usedSlots(cpu) * 2 > this.slots;
  }

  /** `folio_alloc_swap`: a slot held by the swap cache for `page`, or `NULL_SLOT` if the device is full. */
  allocSlot(cpu: Cpu, page: Page): number {
    cpu.spinLock(this.lock);
    let slot = cpu.readOnce32(this.word(SWAP_FREE));
    if (slot !== NULL_SLOT) {
      cpu.writeOnce32(this.word(SWAP_FREE), cpu.readOnce32(this.slotWord(slot)));
    } else {
      slot = this.takeFrontier(cpu);
    }
    if (slot !== NULL_SLOT) {
      cpu.writeOnce32(this.slotWord(slot), SLOT_HAS_CACHE | page);
      cpu.writeOnce32(this.word(SWAP_USED), this.usedSlots(cpu) + 1);
    }
    cpu.spinUnlock(this.lock);
    return slot;
  }

  /** `swap_duplicate`: a PTE is about to hold the slot, which the caller's page in the swap cache holds. */
  swapDuplicate(cpu: Cpu, slot: number): void {
    cpu.fetchOr32(this.slotWord(slot), SLOT_MAPPED, "relaxed");
  }

  /** `swap_free`: the PTE lets go; the last holder frees the slot. */
  swapFree(cpu: Cpu, slot: number): void {
    const before = cpu.fetchAnd32(this.slotWord(slot), ~SLOT_MAPPED >>> 0, "full");
    if ((before & SLOT_HAS_CACHE) === 0) this.freeSlot(cpu, slot);
  }

  /**
   * `swapcache_prepare` and `swap_cache_add_folio` in one: `page` becomes the cached copy of a slot that a PTE holds. False if the slot
   * has a cached page already or is held by no PTE any more: the caller looks again.
   */
  addToCache(cpu: Cpu, slot: number, page: Page): boolean {
    const expected = SLOT_MAPPED;
    const replacement = (SLOT_MAPPED | SLOT_HAS_CACHE | page) >>> 0;
    return cpu.cmpxchg32(this.slotWord(slot), expected >>> 0, replacement, "full") === expected >>> 0;
  }

  /** `delete_from_swap_cache`: the cached page lets go; the last holder frees the slot. */
  removeFromCache(cpu: Cpu, slot: number): void {
    const before = cpu.fetchAnd32(this.slotWord(slot), SLOT_MAPPED, "full");
    if ((before & SLOT_MAPPED) === 0) this.freeSlot(cpu, slot);
  }

  /** `swap_cache_get_folio` without the reference: the cached page of the slot, or `NULL_PAGE`. */
  cachedPage(cpu: Cpu, slot: number): Page {
    const word = cpu.loadAcquire32(this.slotWord(slot));
    return (word & SLOT_HAS_CACHE) === 0 ? NULL_PAGE : ((word & SLOT_PAGE_MASK) as Page);
  }

  /** Whether a PTE holds the slot. Means something only for slots in use. */
  isMapped(cpu: Cpu, slot: number): boolean {
    return (cpu.readOnce32(this.slotWord(slot)) & SLOT_MAPPED) !== 0;
  }

  /** Whether somebody holds the slot. */
  isUsed(cpu: Cpu, slot: number): boolean {
    return (cpu.readOnce32(this.slotWord(slot)) & (SLOT_MAPPED | SLOT_HAS_CACHE)) !== 0;
  }

  /** u64: contents of the slot. */
  contentsWord(slot: number): Address {
    return offset(this.handle.contents, slot * 8);
  }

  private word(wordOffset: number): Address {
    return offset(this.handle.mm, wordOffset);
  }

  /** u32: the holders of a slot in use, or the link of a free one. */
  slotWord(slot: number): Address {
    return offset(this.handle.map, slot * 4);
  }

  private takeFrontier(cpu: Cpu): number {
    const frontier = cpu.readOnce32(this.word(SWAP_FRONTIER)) + 1;
    if (frontier > this.slots) return NULL_SLOT;
    cpu.writeOnce32(this.word(SWAP_FRONTIER), frontier);
    return frontier;
  }

  /** Puts a slot that nobody holds on the free list; its word becomes the link. */
  private freeSlot(cpu: Cpu, slot: number): void {
    cpu.spinLock(this.lock);
    cpu.writeOnce32(this.slotWord(slot), cpu.readOnce32(this.word(SWAP_FREE)));
    cpu.writeOnce32(this.word(SWAP_FREE), slot);
    cpu.writeOnce32(this.word(SWAP_USED), this.usedSlots(cpu) - 1);
    cpu.spinUnlock(this.lock);
  }
}
