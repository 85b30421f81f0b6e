import { type Address, type Cpu, FRAME_BYTES, NULL_ADDRESS, offset } from "@kvm-age/machine";
import {
  type Gfn,
  isLastSpte,
  isShadowPresentPte,
  type PgLevel,
  PT32E_ROOT_LEVEL,
  PT64_ROOT_4LEVEL,
  roleDirect,
  roleLevel,
  type Spte,
  spteIndex,
  spteToPfn,
} from "@kvm-age/spte";
import { cpuRoleBase, type KvmCpuRole } from "../role/kvm-cpu-role.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { KvmMmu } from "../vcpu/kvm-mmu.js";

const PDPTE_SPAN = 2 ** 30;

/** Frame that a PDPTE of `pae_root` or a present non-leaf entry points to. */
function tableOf(mmu: ShadowMmu, entry: bigint): Address {
  return (spteToPfn(mmu.format, entry as Spte) * FRAME_BYTES) as Address;
}

/**
 * `struct kvm_shadow_walk_iterator`: the entries on the path of one address, from the root down:
 * `for (it.start(…); it.okay(); it.next(spte))`. Local to one operation. Held: `mmu_lock` for write, or a lockless walk is
 * announced.
 */
export class ShadowWalkIterator {
  /** Address of the current entry. */
  sptep: Address = NULL_ADDRESS;
  /** Number of the current entry in its table, 0 … 511. */
  index = 0;
  private current = 0;

  /** @param addr the address, as the context translates it, in bytes: an integer in [0, 2^53) */
  constructor(
    private readonly mmu: ShadowMmu,
    readonly addr: number,
  ) {}

  /** Level of the table that the current entry is in. Only while `okay`. */
  get level(): PgLevel {
    return this.current as PgLevel;
  }

  /**
   * `shadow_walk_init_using_root`: starts at `root`, one of the context's. Three-level roots start at level 2, in the table that the
   * PDPTE of the address points to. The walk has no entries if there is no root, only the dummy one, or no such PDPTE.
   */
  start(cpu: Cpu, context: KvmMmu, root: Address): void {
    this.current = 0;
    if (root === NULL_ADDRESS || root === this.mmu.zeroPage(cpu)) return;
    const level = this.startLevel(cpu, context);
    if (level !== PT32E_ROOT_LEVEL) this.enter(level, root);
    else this.startFromPaeRoot(cpu, cpu.readOnce32(context.paeRootWord) as Address);
  }

  /** `shadow_walk_okay`: there is a current entry. */
  okay(): boolean {
    return this.current > 0;
  }

  /** `__shadow_walk_next`: goes to the table that `spte`, the value of the current entry, points to; ends if to none. */
  next(spte: Spte): void {
    if (!isShadowPresentPte(spte) || isLastSpte(spte, this.level)) this.current = 0;
    else this.enter(this.current - 1, tableOf(this.mmu, spte));
  }

  private startLevel(cpu: Cpu, context: KvmMmu): PgLevel {
    const role = context.rootRole(cpu);
    const level = roleLevel(role);
    if (level < PT64_ROOT_4LEVEL || roleDirect(role)) return level;
    const guestLevel = roleLevel(cpuRoleBase(cpu.readOnce(context.cpuRoleWord) as KvmCpuRole));
    return guestLevel < PT64_ROOT_4LEVEL ? PT32E_ROOT_LEVEL : level;
  }

  private startFromPaeRoot(cpu: Cpu, paeRoot: Address): void {
    const pdpte = cpu.readOnce(offset(paeRoot, (Math.floor(this.addr / PDPTE_SPAN) % 4) * 8));
    const table = tableOf(this.mmu, pdpte);
    if (table !== NULL_ADDRESS) this.enter(PT32E_ROOT_LEVEL - 1, table);
  }

  private enter(level: number, table: Address): void {
    this.current = level;
    this.index = spteIndex(Math.floor(this.addr / FRAME_BYTES) as Gfn, level as PgLevel);
    this.sptep = offset(table, this.index * 8);
  }
}
