import type { Cpu } from "@kvm-age/machine";
import { type Gfn, PG_LEVEL_4K, type PgLevel } from "@kvm-age/spte";
import type { Memslots } from "../memslots/memslots.js";
import { lpageInfoDisallowed } from "../metadata/lpage-info.js";
import type { Slot } from "../slot/slot.js";
import { gfnToHvaMemslot } from "../slot/slot-hva.js";
import type { PrimaryMmu } from "./primary-mmu.js";

/**
 * Highest level at which `gfn` may be mapped now (kernel `kvm_mmu_max_mapping_level`): the first from
 * `maxLevel` down that the slot allows, and not higher than the owner's own mapping. Held: `mmu_lock` in any
 * mode, after the invalidation check.
 *
 * @param maxLevel 1 … 3
 */
export function kvmMmuMaxMappingLevel(
  memslots: Memslots,
  cpu: Cpu,
  primary: PrimaryMmu,
  slot: Slot,
  gfn: Gfn,
  maxLevel: PgLevel,
): PgLevel {
  cpu.lockdep.assertHeld(memslots.locks.mmuLock, "any");
  let level = maxLevel;
  while (level > PG_LEVEL_4K && lpageInfoDisallowed(cpu, slot, gfn, level)) level = (level - 1) as PgLevel;
  if (level === PG_LEVEL_4K) return level;
  return Math.min(level, primary.hostPfnMappingLevel(cpu, gfnToHvaMemslot(cpu, slot, gfn))) as PgLevel;
}
