import type { Cpu } from "@kvm-age/machine";
import { MemslotError } from "../errors.js";
import type { Memslots } from "../memslots/memslots.js";
import type { SecondaryMmu } from "../notifier/secondary-mmu.js";
import { NULL_SLOT, writeSlotFields } from "../slot/slot.js";
import { KVM_MEM_SLOTS_NUM, KVM_USER_MEM_SLOTS } from "../slot/slot-limits.js";
import { allocateSlot, kvmSetMemslot } from "./kvm-set-memslot.js";
import { type KvmUserspaceMemoryRegion, slotArgument } from "./memory-region.js";
import { planMemslotChange } from "./plan-memslot-change.js";
import { validateMemoryRegion } from "./validate-memory-region.js";

/** `__kvm_set_memory_region`. Held: `slots_lock`. */
function setMemoryRegionLocked(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  region: KvmUserspaceMemoryRegion,
): void {
  cpu.lockdep.assertHeld(memslots.locks.slotsLock, "write");
  const fields = validateMemoryRegion(region, memslots.nrAddressSpaces);
  const change = planMemslotChange(memslots, cpu, fields);
  if (change === null) return;
  if (change.kind === "delete") {
    kvmSetMemslot(memslots, cpu, mmu, change, NULL_SLOT);
    return;
  }
  const fresh = allocateSlot(memslots, cpu);
  writeSlotFields(cpu, fresh, fields);
  try {
    kvmSetMemslot(memslots, cpu, mmu, change, fresh);
  } catch (error) {
    if (error instanceof MemslotError) memslots.slotSlab.free(cpu, fresh);
    throw error;
  }
}

/**
 * `KVM_SET_USER_MEMORY_REGION`: creates, deletes (size 0), moves a slot or changes its flags. Sleeps: it
 * waits for open invalidations to end and for SRCU readers to leave. Not from inside an SRCU read section.
 *
 * @throws MemslotError EINVAL, EEXIST, EIO or ENOMEM, in the kernel's order of checks;
 *   the slots are as before.
 */
export function kvmSetMemoryRegion(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  region: KvmUserspaceMemoryRegion,
): void {
  const id = region.slot & 0xffff;
  if (id >= KVM_USER_MEM_SLOTS) {
    throw new MemslotError("EINVAL", `slot id is ${id}, allowed: 0 … ${KVM_USER_MEM_SLOTS - 1}`);
  }
  withSlotsLock(memslots, cpu, () => setMemoryRegionLocked(memslots, cpu, mmu, region));
}

/**
 * Creates (or with size 0 deletes) one of KVM's own slots in every address space (kernel
 * `__x86_set_memory_region`, 7.3 `kvm_set_internal_memslot`). The memory at `userspaceAddr` is the caller's.
 *
 * @param id 32764 … 32766
 * @throws MemslotError as `kvmSetMemoryRegion`; address spaces before the failing one keep the slot.
 */
export function kvmSetInternalMemslot(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  id: number,
  region: Omit<KvmUserspaceMemoryRegion, "slot" | "flags">,
): void {
  if (!(id >= KVM_USER_MEM_SLOTS && id < KVM_MEM_SLOTS_NUM)) {
    const allowed = `${KVM_USER_MEM_SLOTS} … ${KVM_MEM_SLOTS_NUM - 1}`;
    throw new MemslotError("EINVAL", `internal slot id is ${id}, allowed: ${allowed}`);
  }
  withSlotsLock(memslots, cpu, () => {
    for (let asId = 0; asId < memslots.nrAddressSpaces; asId++) {
      setMemoryRegionLocked(memslots, cpu, mmu, { ...region, slot: slotArgument(asId, id), flags: 0 });
    }
  });
}

function withSlotsLock(memslots: Memslots, cpu: Cpu, body: () => void): void {
  cpu.mutexLock(memslots.locks.slotsLock);
  try {
    body();
  } finally {
    cpu.mutexUnlock(memslots.locks.slotsLock);
  }
}
