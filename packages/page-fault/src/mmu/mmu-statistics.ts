import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { PgLevel } from "@kvm-age/spte";

/**
 * Counters of `kvm->stat` and `vcpu->stat` that an MMU keeps, by their kernel names, in the order of their words. The first three
 * are the leaves mapped at levels 1 to 3.
 */
export const MMU_STATISTIC_NAMES = [
  "pages_4k",
  "pages_2m",
  "pages_1g",
  "nx_lpage_splits",
  "pf_taken",
  "pf_fixed",
  "pf_fast",
  "pf_spurious",
  "pf_emulate",
  "pf_mmio_spte_created",
  "pf_retry",
  "mmu_shadow_zapped",
  "mmu_cache_miss",
  "mmu_flooded",
  "mmu_unsync",
  "mmu_recycled",
  "max_mmu_rmap_size",
  "max_mmu_page_hash_collisions",
  "mmu_pte_write",
  "mmu_shadow_pages",
] as const;

/** Name of a counter, as in the kernel's binary statistics. */
export type MmuStatisticName = (typeof MMU_STATISTIC_NAMES)[number];

const COUNTER_BYTES = 4;

/** Offset of each counter: a fault counts several. */
const COUNTER_OFFSETS = Object.fromEntries(
  MMU_STATISTIC_NAMES.map((name, index) => [name, index * COUNTER_BYTES]),
) as Readonly<Record<MmuStatisticName, number>>;

/** Bytes of all counters in the arena. */
export const MMU_STATISTICS_BYTES: number = MMU_STATISTIC_NAMES.length * COUNTER_BYTES;

/**
 * The counters of one MMU: u32 words in the arena, counted relaxed, since nobody concludes anything from one but its own value.
 * A counter that its MMU has no use for stays 0.
 */
export class MmuStatistics {
  /** @param address of `MMU_STATISTICS_BYTES` bytes, a multiple of 4, zero at first */
  constructor(private readonly address: Address) {}

  /** u32: the counter of that name. */
  word(name: MmuStatisticName): Address {
    return offset(this.address, COUNTER_OFFSETS[name]);
  }

  /** `kvm_update_page_stats`: u32, the leaves mapped at `level`, 1 … 3. */
  pageWord(level: PgLevel): Address {
    return offset(this.address, (level - 1) * COUNTER_BYTES);
  }

  /** All counters by their names. Each is exact; together they are of one moment only if nobody counts. */
  read(cpu: Cpu): Record<MmuStatisticName, number> {
    const entries = MMU_STATISTIC_NAMES.map((name) => [name, cpu.readOnce32(this.word(name))]);
    return Object.fromEntries(entries) as Record<MmuStatisticName, number>;
  }
}
