import type { Cpu } from "@kvm-age/machine";
import type { Gfn, PgLevel, Spte } from "@kvm-age/spte";

/** Emits `kvm_mmu_split_huge_page`, after an attempt to split; `errno` is 0 or negative. */
export function traceKvmMmuSplitHugePage(
  cpu: Cpu,
  gfn: Gfn,
  spte: Spte,
  level: PgLevel,
  errno: number,
): void {
  cpu.trace({ name: "kvm_mmu_split_huge_page", fields: { gfn, spte, level, errno } });
}
