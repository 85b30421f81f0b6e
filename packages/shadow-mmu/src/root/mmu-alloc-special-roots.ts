import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { PT32E_ROOT_LEVEL, PT64_ROOT_4LEVEL, PT64_ROOT_5LEVEL, roleDirect, roleLevel } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { KvmMmu } from "../vcpu/kvm-mmu.js";
import { guestLevel } from "./guest-level.js";

function allocateOnce(mmu: ShadowMmu, cpu: Cpu, word: Address): void {
  if (cpu.readOnce32(word) === NULL_ADDRESS) cpu.writeOnce32(word, mmu.frames.allocateFrame(cpu));
}

/** Whether the context's root is an array of four entries, at the top or below tables of one entry. */
export function usesPaeRoot(cpu: Cpu, context: KvmMmu): boolean {
  const role = context.rootRole(cpu);
  if (roleLevel(role) === PT32E_ROOT_LEVEL) return true;
  return !roleDirect(role) && guestLevel(cpu, context) < PT64_ROOT_4LEVEL;
}

/**
 * `mmu_alloc_special_roots`, and the part of `__kvm_mmu_create` that belongs to it: gives a context the frames of its root
 * that no shadow page is behind: `pae_root`, and above it one or two levels where hardware has more of them than the guest.
 * They stay with the vCPU. Before any lock: it may wait for memory.
 *
 * @throws OutOfMemoryError
 */
export function mmuAllocSpecialRoots(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu): void {
  if (!usesPaeRoot(cpu, context)) return;
  const level = roleLevel(context.rootRole(cpu));
  allocateOnce(mmu, cpu, context.paeRootWord);
  if (level >= PT64_ROOT_4LEVEL) allocateOnce(mmu, cpu, context.pml4RootWord);
  if (level === PT64_ROOT_5LEVEL) allocateOnce(mmu, cpu, context.pml5RootWord);
}
