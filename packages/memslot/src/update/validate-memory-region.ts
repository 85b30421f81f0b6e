import type { Gfn } from "@kvm-age/spte";
import { type Hva, TASK_SIZE_MAX } from "../address/hva.js";
import { PAGE_SIZE } from "../address/page.js";
import { MemslotError } from "../errors.js";
import type { SlotFields } from "../slot/slot.js";
import { KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY } from "../slot/slot-flags.js";
import { KVM_MEM_MAX_NR_PAGES, KVM_MEM_SLOTS_NUM } from "../slot/slot-limits.js";
import type { KvmUserspaceMemoryRegion } from "./memory-region.js";

const VALID_FLAGS = KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY;
const U64_LIMIT = 2 ** 64;

function hex(value: number): string {
  if (!Number.isInteger(value)) return String(value);
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

function refuse(what: string, value: number, allowed: string): never {
  throw new MemslotError("EINVAL", `${what} is ${hex(value)}, allowed: ${allowed}`);
}

/** Also refuses what is not a number of the kernel's type: fractions, negative values, 2^64 and above. */
function isPageMultiple(value: number): boolean {
  return value >= 0 && value < U64_LIMIT && value % PAGE_SIZE === 0;
}

function checkUserspaceAddr(region: KvmUserspaceMemoryRegion): void {
  const { userspaceAddr, memorySize } = region;
  const inUserSpace = isPageMultiple(userspaceAddr) && userspaceAddr + memorySize <= TASK_SIZE_MAX;
  if (!inUserSpace) {
    const allowed = `a multiple of 4096 with addr + ${hex(memorySize)} <= ${hex(TASK_SIZE_MAX)}`;
    refuse("userspace_addr", userspaceAddr, allowed);
  }
}

/**
 * Checks a request by itself, in the kernel's order (checks 1 to 7 of `__kvm_set_memory_region`). The pages
 * of the result are 0 for a delete.
 *
 * @throws MemslotError EINVAL
 */
export function validateMemoryRegion(region: KvmUserspaceMemoryRegion, nrAddressSpaces: number): SlotFields {
  const { flags, memorySize, guestPhysAddr } = region;
  if ((flags & ~VALID_FLAGS) !== 0) refuse("flags", flags >>> 0, `bits of ${hex(VALID_FLAGS)}`);
  if (!isPageMultiple(memorySize)) refuse("memory_size", memorySize, "a multiple of 4096 below 2^64");
  if (!isPageMultiple(guestPhysAddr)) {
    refuse("guest_phys_addr", guestPhysAddr, "a multiple of 4096 below 2^64");
  }
  checkUserspaceAddr(region);
  const asId = region.slot >>> 16;
  const id = region.slot & 0xffff;
  if (asId >= nrAddressSpaces) refuse("address space of the slot", asId, `0 … ${nrAddressSpaces - 1}`);
  if (id >= KVM_MEM_SLOTS_NUM) refuse("slot id", id, `0 … ${KVM_MEM_SLOTS_NUM - 1}`);
  // Both are multiples of 4096 below 2^64, so the sum is exact.
  if (guestPhysAddr + memorySize >= U64_LIMIT && memorySize > 0) {
    refuse("guest_phys_addr + memory_size", guestPhysAddr + memorySize, "below 2^64");
  }
  const npages = memorySize / PAGE_SIZE;
  if (npages > KVM_MEM_MAX_NR_PAGES) refuse("number of pages", npages, `0 … ${hex(KVM_MEM_MAX_NR_PAGES)}`);
  return {
    asId,
    id,
    baseGfn: (guestPhysAddr / PAGE_SIZE) as Gfn,
    npages,
    userspaceAddr: region.userspaceAddr as Hva,
    flags,
  };
}
