import type { Address, Cpu } from "@kvm-age/machine";
import type { PgLevel, Spte } from "@kvm-age/spte";
import type { KvmPageFault } from "../fault/kvm-page-fault.js";

/** The entry at the end of a walk, as it was seen. */
export interface LastSpte {
  /** 0 if the walk found no entry at all. */
  readonly sptep: Address;
  readonly oldSpte: Spte;
  readonly level: PgLevel;
}

/**
 * `walk_shadow_page_lockless_begin` and `_end`: how one vCPU reads its page tables without `mmu_lock`. Between `begin` and `end` tables
 * may be unlinked, but are not freed, so that the entry found can be read and compare-exchanged. The TDP MMU walks under
 * RCU; the shadow MMU announces the walk in `vcpu->mode`.
 */
export interface LocklessWalk {
  begin(cpu: Cpu): void;
  /** The lowest entry on the path of the fault's page: by gfn, or by address where the guest has tables of its own. */
  lastSpte(cpu: Cpu, fault: KvmPageFault): LastSpte;
  end(cpu: Cpu): void;
}
