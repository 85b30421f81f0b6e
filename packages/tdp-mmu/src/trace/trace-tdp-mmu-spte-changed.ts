import type { Cpu } from "@kvm-age/machine";
import type { Gfn, PgLevel, Spte } from "@kvm-age/spte";

/** Emits `kvm_tdp_mmu_spte_changed`. */
export function traceTdpMmuSpteChanged(
  cpu: Cpu,
  asId: number,
  gfn: Gfn,
  level: PgLevel,
  oldSpte: Spte,
  newSpte: Spte,
): void {
  cpu.trace({
    name: "kvm_tdp_mmu_spte_changed",
    fields: { as_id: asId, gfn, level, old_spte: oldSpte, new_spte: newSpte },
  });
}
