import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import type { Memslots } from "../memslots/memslots.js";
import { setGeneration } from "../set/slot-set.js";
import { NULL_SLOT, type Slot, slotContains } from "../slot/slot.js";
import { searchMemslots } from "./search-memslots.js";

/** Bytes of a vCPU's lookup cache: u64 generation, u32 slot. All zero is empty. */
export const VCPU_MEMSLOT_CACHE_BYTES = 16;

const CACHE_GENERATION = 0;
const CACHE_SLOT = 8;

/**
 * The slot that contains `gfn`, through a cache that belongs to one vCPU (kernel `kvm_vcpu_gfn_to_memslot`).
 * A cache from another generation is dropped, so a slot that was freed is never followed; the VM-wide cache
 * is left alone.
 *
 * @param cache address of `VCPU_MEMSLOT_CACHE_BYTES`, used by one vCPU only
 * @param asId 1 if the vCPU is in system management mode, else 0
 */
export function kvmVcpuGfnToMemslot(
  memslots: Memslots,
  cpu: Cpu,
  cache: Address,
  asId: number,
  gfn: Gfn,
): Slot {
  const set = memslots.kvmMemslots(cpu, asId);
  const generation = setGeneration(cpu, set);
  if (cpu.readOnce(offset(cache, CACHE_GENERATION)) !== generation) {
    cpu.writeOnce(offset(cache, CACHE_GENERATION), generation);
    cpu.writeOnce32(offset(cache, CACHE_SLOT), NULL_SLOT);
  }
  const cached = cpu.readOnce32(offset(cache, CACHE_SLOT)) as Slot;
  if (cached !== NULL_SLOT && slotContains(cpu, cached, gfn)) return cached;
  const slot = searchMemslots(cpu, set, gfn);
  if (slot !== NULL_SLOT) cpu.writeOnce32(offset(cache, CACHE_SLOT), slot);
  return slot;
}
