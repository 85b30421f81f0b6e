import type { FlushDomain } from "@kvm-age/machine";
import type { Memslots } from "@kvm-age/memslot";
import type { Gfn, SpteFormat } from "@kvm-age/spte";
import type { MmuStatistics } from "./mmu-statistics.js";

/** What handling a fault needs to know of the MMU it is for: addresses and constants, the same in every thread. */
export interface FaultingMmu {
  readonly memslots: Memslots;
  readonly format: SpteFormat;
  /** First gfn that no entry can describe; no MMIO entry is made from there on. */
  readonly maxGfnExclusive: Gfn;
  /** Whose TLBs hold what the entries said. */
  readonly flushDomain: FlushDomain;
  /** `is_nx_huge_page_enabled`: no executable huge pages. */
  readonly nxHugePages: boolean;
  /** CPU dirty logging (PML). */
  readonly cpuDirtyLog: boolean;
  readonly statistics: MmuStatistics;
}
