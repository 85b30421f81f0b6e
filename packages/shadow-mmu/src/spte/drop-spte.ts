import type { Address, Cpu } from "@kvm-age/machine";
import { isShadowPresentPte } from "@kvm-age/spte";
import { rmapRemove } from "../leaf-rmap/rmap-remove.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteClearTrackBits } from "./mmu-spte-clear-track-bits.js";

/**
 * `drop_spte`: makes a leaf non-present and takes it off its rmap. Held: `mmu_lock` for write; the caller flushes before it drops the
 * lock, or before the table is freed.
 */
export function dropSpte(mmu: ShadowMmu, cpu: Cpu, sptep: Address): void {
  const oldSpte = mmuSpteClearTrackBits(mmu, cpu, sptep);
  if (isShadowPresentPte(oldSpte)) rmapRemove(mmu, cpu, sptep);
}
