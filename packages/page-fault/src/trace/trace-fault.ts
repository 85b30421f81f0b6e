import type { Address, Cpu } from "@kvm-age/machine";
import type { Gfn, Pfn, PgLevel, Spte } from "@kvm-age/spte";

/** Emits `kvm_mmu_spte_requested`: a fault chose its level. */
export function traceKvmMmuSpteRequested(cpu: Cpu, gfn: Gfn, pfn: Pfn, level: PgLevel, access: number): void {
  cpu.trace({ name: "kvm_mmu_spte_requested", fields: { gfn, pfn, level, access } });
}

/** Emits `kvm_mmu_set_spte`: a fault installed a leaf. */
export function traceKvmMmuSetSpte(cpu: Cpu, level: PgLevel, gfn: Gfn, sptep: Address, spte: Spte): void {
  cpu.trace({ name: "kvm_mmu_set_spte", fields: { gfn, spte, level, sptep } });
}

/** Emits `mark_mmio_spte`: a fault without memslot was cached. */
export function traceMarkMmioSpte(cpu: Cpu, sptep: Address, gfn: Gfn, spte: Spte): void {
  cpu.trace({ name: "mark_mmio_spte", fields: { sptep, gfn, spte } });
}
