import type { Cpu } from "@kvm-age/machine";

/** Emits `kvm_mmu_pagetable_walk`: a walk of guest tables begins; `pferr` is the error code that asks for it, without RSVD. */
export function traceKvmMmuPagetableWalk(cpu: Cpu, addr: number, pferr: number): void {
  cpu.trace({ name: "kvm_mmu_pagetable_walk", fields: { addr: BigInt(addr), pferr } });
}

/** Emits `kvm_mmu_paging_element`: a guest entry was read. */
export function traceKvmMmuPagingElement(cpu: Cpu, pte: bigint, level: number): void {
  cpu.trace({ name: "kvm_mmu_paging_element", fields: { pte, level } });
}

/** Emits `kvm_mmu_set_accessed_bit`: Accessed is about to be set in the guest entry at `gpa`. */
export function traceKvmMmuSetAccessedBit(cpu: Cpu, gpa: number): void {
  cpu.trace({ name: "kvm_mmu_set_accessed_bit", fields: { gpa } });
}

/** Emits `kvm_mmu_set_dirty_bit`: Dirty is about to be set in the guest entry at `gpa`. */
export function traceKvmMmuSetDirtyBit(cpu: Cpu, gpa: number): void {
  cpu.trace({ name: "kvm_mmu_set_dirty_bit", fields: { gpa } });
}

/** Emits `kvm_mmu_walker_error`: the walk ends in a guest fault with this error code. */
export function traceKvmMmuWalkerError(cpu: Cpu, pferr: number): void {
  cpu.trace({ name: "kvm_mmu_walker_error", fields: { pferr } });
}
