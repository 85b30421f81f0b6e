import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import { type Gfn, kvmPagesPerHpage, PG_LEVEL_1G, PG_LEVEL_2M, type PgLevel } from "@kvm-age/spte";
import { gfnToIndex, slotLpages } from "../address/gfn-to-index.js";
import { PAGE_SIZE } from "../address/page.js";
import { MetadataCounterError } from "../errors.js";
import type { Memslots } from "../memslots/memslots.js";
import { type Slot, slotBaseGfn, slotLpageInfoWord, slotNpages, slotUserspaceAddr } from "../slot/slot.js";

/**
 * Bit 31 of `disallow_lpage`: private and shared attributes are mixed in the huge page (kernel
 * `KVM_LPAGE_MIXED_FLAG`).
 */
export const KVM_LPAGE_MIXED_FLAG: number = 2 ** 31;

/** Levels that have an array of `disallow_lpage`. */
const HUGE_LEVELS: readonly PgLevel[] = [PG_LEVEL_2M, PG_LEVEL_1G];

const LPAGE_INFO_BYTES = 4;

function lpageInfoBytes(cpu: Cpu, slot: Slot, level: PgLevel): number {
  return slotLpages(slotBaseGfn(cpu, slot), slotNpages(cpu, slot), level) * LPAGE_INFO_BYTES;
}

/** Address of the `disallow_lpage` word of `gfn` at `level` 2 or 3 (kernel `lpage_info_slot`). */
export function lpageInfoSlot(cpu: Cpu, slot: Slot, gfn: Gfn, level: PgLevel): Address {
  const array = cpu.readOnce32(slotLpageInfoWord(slot, level)) as Address;
  return offset(array, gfnToIndex(gfn, slotBaseGfn(cpu, slot), level) * LPAGE_INFO_BYTES);
}

/**
 * Whether `gfn` must not be mapped by a huge page of `level`, 2 or 3. Without `mmu_lock` the answer may be
 * out of date; a mapping made by it is split again by whoever raised the counter, under the lock.
 */
export function lpageInfoDisallowed(cpu: Cpu, slot: Slot, gfn: Gfn, level: PgLevel): boolean {
  return cpu.readOnce32(lpageInfoSlot(cpu, slot, gfn, level)) !== 0;
}

/** Raises or lowers the counter; bit 31 is not part of it. */
function updateDisallowLpage(cpu: Cpu, slot: Slot, gfn: Gfn, level: PgLevel, addend: 1 | -1): void {
  const word = lpageInfoSlot(cpu, slot, gfn, level);
  const value = cpu.readOnce32(word);
  const count = (value % KVM_LPAGE_MIXED_FLAG) + addend;
  if (count < 0 || count >= KVM_LPAGE_MIXED_FLAG) {
    throw new MetadataCounterError("disallow_lpage", gfn, count, KVM_LPAGE_MIXED_FLAG - 1);
  }
  cpu.writeOnce32(word, value + addend);
}

/**
 * Something at `gfn` forbids huge pages around it: +1 on both levels (kernel `kvm_mmu_gfn_disallow_lpage`).
 * Held: `mmu_lock` for write.
 *
 * @throws MetadataCounterError if the counter would overflow.
 */
export function kvmMmuGfnDisallowLpage(cpu: Cpu, slot: Slot, gfn: Gfn): void {
  for (const level of HUGE_LEVELS) updateDisallowLpage(cpu, slot, gfn, level, 1);
}

/**
 * Undoes one `kvmMmuGfnDisallowLpage` (kernel `kvm_mmu_gfn_allow_lpage`). Held: `mmu_lock` for write.
 *
 * @throws MetadataCounterError if there is none to undo.
 */
export function kvmMmuGfnAllowLpage(cpu: Cpu, slot: Slot, gfn: Gfn): void {
  for (const level of HUGE_LEVELS) updateDisallowLpage(cpu, slot, gfn, level, -1);
}

/** Marks the huge pages of one level that the slot's ends or its place in host memory forbid. */
function initLpageInfo(cpu: Cpu, slot: Slot, array: Address, level: PgLevel): void {
  const baseGfn = slotBaseGfn(cpu, slot);
  const npages = slotNpages(cpu, slot);
  const pages = kvmPagesPerHpage(level);
  const lpages = slotLpages(baseGfn, npages, level);
  const disallow = (index: number): void => cpu.writeOnce32(offset(array, index * LPAGE_INFO_BYTES), 1);
  if (baseGfn % pages !== 0) disallow(0);
  if ((baseGfn + npages) % pages !== 0) disallow(lpages - 1);
  if (baseGfn % pages !== (slotUserspaceAddr(cpu, slot) / PAGE_SIZE) % pages) {
    for (let index = 0; index < lpages; index++) disallow(index);
  }
}

/**
 * Gives a new slot its `disallow_lpage` arrays (part of kernel `kvm_alloc_memslot_metadata`).
 *
 * @throws OutOfMemoryError; what was allocated stays and is freed with the slot.
 */
export function lpageInfoAlloc(memslots: Memslots, cpu: Cpu, slot: Slot): void {
  for (const level of HUGE_LEVELS) {
    const array = memslots.arrays.allocate(cpu, lpageInfoBytes(cpu, slot, level));
    initLpageInfo(cpu, slot, array, level);
    cpu.writeOnce32(slotLpageInfoWord(slot, level), array);
  }
}

/** Frees the arrays of a slot that nobody can reach. */
export function lpageInfoFree(memslots: Memslots, cpu: Cpu, slot: Slot): void {
  for (const level of HUGE_LEVELS) {
    const array = cpu.readOnce32(slotLpageInfoWord(slot, level)) as Address;
    if (array === NULL_ADDRESS) continue;
    memslots.arrays.free(cpu, array, lpageInfoBytes(cpu, slot, level));
    cpu.writeOnce32(slotLpageInfoWord(slot, level), NULL_ADDRESS);
  }
}
