import { type Address, type Cpu, type LockClass, offset, type SpinLock } from "@kvm-age/machine";
import { FBATCH_LOCK, FBATCH_LRU_ACTIVATE, FBATCH_LRU_ADD, perCpuArea } from "../mm/per-cpu-area.js";
import { folioSet } from "../page/folio-flags.js";
import { folioPut } from "../page/folio-put.js";
import type { MemMap, Page } from "../page/mem-map.js";
import { PG_ACTIVE } from "../page/page-state.js";
import type { Zone } from "../zone/zone.js";
import type { Lruvec } from "./lruvec.js";

/** Lock class of a processor's folio batches (a `local_lock` in the kernel). */
export const FBATCH_LOCK_CLASS: LockClass = { name: "cpu_fbatches.lock", sleeps: false };

/** Folios in a batch (kernel `PAGEVEC_SIZE`). */
export const PAGEVEC_SIZE = 31;

/**
 * Every processor's folios on their way to the LRU lists (kernel `cpu_fbatches`), so that the LRU lock is taken once for 31 of
 * them. A folio in a batch has a reference for it, and no `PG_lru` yet if it is new.
 */
export class FolioBatches {
  constructor(
    private readonly memMap: MemMap,
    private readonly lruvec: Lruvec,
    private readonly zone: Zone,
    private readonly perCpu: Address,
    private readonly maxCpus: number,
  ) {}

  /** `folio_add_lru`, taking over a reference of the caller. A huge folio goes to the list at once with all before it. */
  addLru(cpu: Cpu, folio: Page, isHuge: boolean): void {
    const area = perCpuArea(this.perCpu, cpu.id);
    const lock = this.batchLock(area);
    cpu.spinLock(lock);
    const count = this.append(cpu, offset(area, FBATCH_LRU_ADD), folio);
    if (count === PAGEVEC_SIZE || isHuge) this.moveToLru(cpu, offset(area, FBATCH_LRU_ADD));
    cpu.spinUnlock(lock);
  }

  /** `folio_activate`, taking over a reference of the caller: the folio moves to the active list with its batch; a huge one at once. */
  activate(cpu: Cpu, folio: Page, isHuge: boolean): void {
    const area = perCpuArea(this.perCpu, cpu.id);
    const lock = this.batchLock(area);
    cpu.spinLock(lock);
    const count = this.append(cpu, offset(area, FBATCH_LRU_ACTIVATE), folio);
    if (count === PAGEVEC_SIZE || isHuge) this.moveToActive(cpu, offset(area, FBATCH_LRU_ACTIVATE));
    cpu.spinUnlock(lock);
  }

  /**
   * `__lru_cache_activate_folio`: sets the active flag of a folio that is in this processor's own batch; the newest first,
   * because a fault marks what it has just added. Folios in other processors' batches stay as they are.
   */
  activateInBatch(cpu: Cpu, folio: Page): void {
    const area = perCpuArea(this.perCpu, cpu.id);
    const batch = offset(area, FBATCH_LRU_ADD);
    const lock = this.batchLock(area);
    cpu.spinLock(lock);
    for (let index = cpu.readOnce32(batch) - 1; index >= 0; index--) {
      if (cpu.readOnce32(entryWord(batch, index)) !== folio) continue;
      folioSet(this.memMap, cpu, folio, PG_ACTIVE);
      break;
    }
    cpu.spinUnlock(lock);
  }

  /** `lru_add_drain`: empties this processor's batches. */
  lruAddDrain(cpu: Cpu): void {
    this.drainArea(cpu, perCpuArea(this.perCpu, cpu.id));
  }

  /** `lru_add_drain_all`: empties every processor's batches. */
  lruAddDrainAll(cpu: Cpu): void {
    for (let id = 0; id < this.maxCpus; id++) this.drainArea(cpu, perCpuArea(this.perCpu, id));
  }

  private drainArea(cpu: Cpu, area: Address): void {
    const lock = this.batchLock(area);
    cpu.spinLock(lock);
    this.moveToLru(cpu, offset(area, FBATCH_LRU_ADD));
    this.moveToActive(cpu, offset(area, FBATCH_LRU_ACTIVATE));
    cpu.spinUnlock(lock);
  }

  private batchLock(area: Address): SpinLock {
    return { kind: "spinlock", address: offset(area, FBATCH_LOCK), lockClass: FBATCH_LOCK_CLASS };
  }

  private append(cpu: Cpu, batch: Address, folio: Page): number {
    const count = cpu.readOnce32(batch);
    cpu.writeOnce32(entryWord(batch, count), folio);
    cpu.writeOnce32(batch, count + 1);
    return count + 1;
  }

  /** `folio_batch_move_lru` with `lru_add`. */
  private moveToLru(cpu: Cpu, batch: Address): void {
    const count = cpu.readOnce32(batch);
    if (count === 0) return;
    this.lruvec.lockLru(cpu);
    for (let index = 0; index < count; index++) {
      this.lruvec.addFolio(cpu, cpu.readOnce32(entryWord(batch, index)) as Page);
    }
    this.lruvec.unlockLru(cpu);
    this.putAll(cpu, batch, count);
  }

  /** `folio_batch_move_lru` with `lru_activate`. */
  private moveToActive(cpu: Cpu, batch: Address): void {
    const count = cpu.readOnce32(batch);
    if (count === 0) return;
    this.lruvec.lockLru(cpu);
    for (let index = 0; index < count; index++) {
      this.lruvec.activateFolio(cpu, cpu.readOnce32(entryWord(batch, index)) as Page);
    }
    this.lruvec.unlockLru(cpu);
    this.putAll(cpu, batch, count);
  }

  /** `folios_put`: drops the batch's references and empties it. */
  private putAll(cpu: Cpu, batch: Address, count: number): void {
    for (let index = 0; index < count; index++) {
      const folio = cpu.readOnce32(entryWord(batch, index)) as Page;
      folioPut(this.memMap, this.lruvec, this.zone, cpu, folio);
    }
    cpu.writeOnce32(batch, 0);
  }
}

function entryWord(batch: Address, index: number): Address {
  return offset(batch, 4 + index * 4);
}
