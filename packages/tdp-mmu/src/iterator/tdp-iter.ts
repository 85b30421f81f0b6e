import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import {
  type Gfn,
  gfnRoundForLevel,
  isLastSpte,
  isShadowPresentPte,
  kvmPagesPerHpage,
  PG_LEVEL_4K,
  type PgLevel,
  type Spte,
  type SpteFormat,
  spteIndex,
  spteToPfn,
} from "@kvm-age/spte";
import { RootStateError } from "../page/errors.js";
import { type KvmMmuPage, roleWord, sptWord } from "../page/kvm-mmu-page.js";

const LAST_INDEX = 511;

/** Whether an entry is the last of its table. */
function isLastEntryOfTable(sptep: Address): boolean {
  return ((sptep >>> 3) & LAST_INDEX) === LAST_INDEX;
}

/**
 * `struct tdp_iter`: a pre-order walk over the entries of one root, from `minLevel` up. An entry comes before those of
 * the table it points to; the first entry may begin before the start gfn. Local to one operation.
 *
 * `oldSpte` is a snapshot. Whoever changes the entry does so against the snapshot, by compare-exchange, or holds
 * `mmu_lock` for write. After a yield neither `oldSpte` nor `sptep` may be used before the next step.
 */
export class TdpIter {
  /** The gfn the walk is heading for. */
  nextLastLevelGfn: Gfn = 0 as Gfn;
  /** `nextLastLevelGfn` at the last yield, or at the start. */
  yieldedGfn: Gfn = 0 as Gfn;
  /** First gfn that the current entry maps. */
  gfn: Gfn = 0 as Gfn;
  /** The current entry. */
  sptep: Address = NULL_ADDRESS;
  level: PgLevel = 1;
  minLevel: PgLevel = 1;
  rootLevel: PgLevel = 1;
  /** Address space of the root. */
  asId = 0;
  /** False when the walk has left the tree. */
  valid = false;
  /** The lock was dropped: the next step starts again from the root. */
  yielded = false;
  private gfnBits = 0;
  /**
   * `oldSpte`, as a word rather than a field: a `bigint` stored in a field is allocated anew at every step, which made a
   * scan four times slower (Node 20, 2026-11; `npm run bench`).
   */
  private readonly snapshot = new BigUint64Array(1);
  private readonly ptPath: Address[] = [NULL_ADDRESS, NULL_ADDRESS, NULL_ADDRESS, NULL_ADDRESS, NULL_ADDRESS];

  constructor(private readonly format: SpteFormat) {}

  /** The entry as it was last read (`old_spte`). */
  get oldSpte(): Spte {
    return this.snapshot[0]! as Spte;
  }

  set oldSpte(spte: Spte) {
    this.snapshot[0] = spte;
  }

  /**
   * `tdp_iter_start`: positions the walk at the root's entry for `nextLastLevelGfn`.
   *
   * @param gfnBits gfn bits added for indexing: the shared bit of a VM whose shared mappings live in the upper half of
   * its address space, else 0. The start gfn is below them.
   * @throws RootStateError for a null root or levels outside 1 ≤ minLevel ≤ rootLevel ≤ 5.
   */
  start(cpu: Cpu, root: KvmMmuPage, minLevel: PgLevel, nextLastLevelGfn: Gfn, gfnBits = 0): void {
    const role = root === NULL_ADDRESS ? 0 : cpu.readOnce32(roleWord(root));
    const rootLevel = role & 0xf;
    if (rootLevel < 1 || rootLevel > 5 || minLevel < 1 || minLevel > rootLevel) {
      throw new RootStateError(`walk of levels ${minLevel} to ${rootLevel}`, root);
    }
    this.nextLastLevelGfn = nextLastLevelGfn;
    this.rootLevel = rootLevel as PgLevel;
    this.minLevel = minLevel;
    this.gfnBits = gfnBits;
    this.ptPath[rootLevel - 1] = cpu.readOnce32(sptWord(root)) as Address;
    this.asId = role >>> 24 === 0 ? 0 : 1;
    this.restart(cpu);
  }

  /**
   * `tdp_iter_next`: goes on to the next entry in pre-order; `valid` becomes false after the last. The commonest step, sideways
   * in a lowest table, is written out here: as a call of `tryStepSide` it made a scan a third slower (Node 20, 2026-11).
   */
  next(cpu: Cpu): void {
    const sptep = this.sptep;
    if (this.yielded || this.level !== this.minLevel || isLastEntryOfTable(sptep)) {
      this.nextElsewhere(cpu);
      return;
    }
    const gfn = this.level === PG_LEVEL_4K ? this.gfn + 1 : this.gfn + kvmPagesPerHpage(this.level);
    this.gfn = gfn as Gfn;
    this.nextLastLevelGfn = gfn as Gfn;
    this.sptep = offset(sptep, 8);
    this.snapshot[0] = cpu.readOnce(offset(sptep, 8));
  }

  private nextElsewhere(cpu: Cpu): void {
    if (this.yielded) {
      this.restart(cpu);
      return;
    }
    if (this.tryStepDown(cpu)) return;
    do {
      if (this.tryStepSide(cpu)) return;
    } while (this.tryStepUp(cpu));
    this.valid = false;
  }

  /** `tdp_iter_restart`: back to the root, heading for the same gfn. */
  private restart(cpu: Cpu): void {
    this.yielded = false;
    this.yieldedGfn = this.nextLastLevelGfn;
    this.level = this.rootLevel;
    this.gfn = gfnRoundForLevel(this.nextLastLevelGfn, this.level);
    this.refreshSptep(cpu);
    this.valid = true;
  }

  /** `tdp_iter_refresh_sptep`: points at the entry for `gfn` at `level` and takes a snapshot. */
  private refreshSptep(cpu: Cpu): void {
    const index = spteIndex((this.gfn + this.gfnBits) as Gfn, this.level);
    this.sptep = offset(this.ptPath[this.level - 1]!, index * 8);
    this.snapshot[0] = cpu.readOnce(this.sptep);
  }

  /**
   * Steps into the table that the entry points to. The entry is read again: it may have changed since the snapshot, and
   * a table that has been unlinked must not be entered.
   */
  private tryStepDown(cpu: Cpu): boolean {
    if (this.level === this.minLevel) return false;
    this.snapshot[0] = cpu.readOnce(this.sptep);
    if (!isShadowPresentPte(this.oldSpte) || isLastSpte(this.oldSpte, this.level)) return false;
    this.level = (this.level - 1) as PgLevel;
    this.ptPath[this.level - 1] = (spteToPfn(this.format, this.oldSpte) * 4096) as Address;
    this.gfn = gfnRoundForLevel(this.nextLastLevelGfn, this.level);
    this.refreshSptep(cpu);
    return true;
  }

  /** Steps to the next entry of the same table, unless this is the last. */
  private tryStepSide(cpu: Cpu): boolean {
    const sptep = this.sptep;
    if (isLastEntryOfTable(sptep)) return false;
    this.gfn = (this.gfn + kvmPagesPerHpage(this.level)) as Gfn;
    this.nextLastLevelGfn = this.gfn;
    this.sptep = offset(sptep, 8);
    this.snapshot[0] = cpu.readOnce(this.sptep);
    return true;
  }

  /** Steps back to the entry above, which has been visited: the caller steps sideways next. */
  private tryStepUp(cpu: Cpu): boolean {
    if (this.level === this.rootLevel) return false;
    this.level = (this.level + 1) as PgLevel;
    this.gfn = gfnRoundForLevel(this.gfn, this.level);
    this.refreshSptep(cpu);
    return true;
  }
}
