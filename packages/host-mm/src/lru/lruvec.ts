import { type Address, type Cpu, type LockClass, offset, type SpinLock } from "@kvm-age/machine";
import { LRUVEC_ACTIVE, LRUVEC_INACTIVE, LRUVEC_LOCK } from "../mm/mm-layout.js";
import { folioClear, folioSet, folioTest } from "../page/folio-flags.js";
import { folioTryGet } from "../page/folio-reference.js";
import {
  ACTIVE_LIST,
  HPAGE_PMD_NR,
  INACTIVE_LIST,
  type MemMap,
  NULL_PAGE,
  type Page,
} from "../page/mem-map.js";
import {
  initPageList,
  pageListAdd,
  pageListAddTail,
  pageListDelete,
  pageListLast,
} from "../page/page-list.js";
import { PG_ACTIVE, PG_HEAD, PG_LRU } from "../page/page-state.js";

/** Lock class of the LRU lists. */
export const LRU_LOCK_CLASS: LockClass = { name: "lruvec->lru_lock", sleeps: false };

/** Pages per GiB, as a power of two. */
const GIB_PAGES_SHIFT = 18;

/** Pages of a folio (kernel `folio_nr_pages`), from its state. */
function stateNrPages(state: bigint): number {
  return (state & PG_HEAD) === 0n ? 1 : HPAGE_PMD_NR;
}

/**
 * The active and the inactive list of anonymous folios (kernel `struct lruvec`; there is one node, one memory group and
 * no file memory). New folios enter at the front; reclaim takes from the end.
 *
 * `PG_lru` is set exactly while a folio is on a list and changes under the lock only, together with the list.
 */
export class Lruvec {
  private readonly lock: SpinLock;
  private readonly inactiveWord: Address;
  private readonly activeWord: Address;

  constructor(
    private readonly memMap: MemMap,
    mm: Address,
  ) {
    this.lock = { kind: "spinlock", address: offset(mm, LRUVEC_LOCK), lockClass: LRU_LOCK_CLASS };
    this.inactiveWord = offset(mm, LRUVEC_INACTIVE);
    this.activeWord = offset(mm, LRUVEC_ACTIVE);
  }

  /** Makes both lists empty. */
  init(cpu: Cpu): void {
    initPageList(this.memMap, cpu, INACTIVE_LIST);
    initPageList(this.memMap, cpu, ACTIVE_LIST);
  }

  lockLru(cpu: Cpu): void {
    cpu.spinLock(this.lock);
  }

  unlockLru(cpu: Cpu): void {
    cpu.spinUnlock(this.lock);
  }

  /** Pages on the inactive list. May be stale at once. */
  inactivePages(cpu: Cpu): number {
    return cpu.readOnce32(this.inactiveWord);
  }

  /** Pages on the active list. May be stale at once. */
  activePages(cpu: Cpu): number {
    return cpu.readOnce32(this.activeWord);
  }

  /** `inactive_is_low`: the active list is more than sqrt(10 × GiB of both) times as long, at least once. */
  inactiveIsLow(cpu: Cpu): boolean {
    const inactive = this.inactivePages(cpu);
    const active = this.activePages(cpu);
    const gib = (inactive + active) >>> GIB_PAGES_SHIFT;
    const ratio = gib === 0 ? 1 : Math.floor(Math.sqrt(10 * gib));
    return inactive * ratio < active;
  }

  /** `lruvec_add_folio`: puts a folio that is on no list on the one that its active flag names. Under the lock. */
  addFolio(cpu: Cpu, folio: Page): void {
    const state = this.memMap.readState(cpu, folio);
    folioSet(this.memMap, cpu, folio, PG_LRU);
    pageListAdd(this.memMap, cpu, folio, this.listOf(state));
    this.count(cpu, state, 1);
  }

  /** `lruvec_add_folio_tail`: as `addFolio`, at the end where reclaim looks first. Under the lock. */
  addFolioTail(cpu: Cpu, folio: Page): void {
    const state = this.memMap.readState(cpu, folio);
    folioSet(this.memMap, cpu, folio, PG_LRU);
    pageListAddTail(this.memMap, cpu, folio, this.listOf(state));
    this.count(cpu, state, 1);
  }

  /** `lruvec_del_folio`: takes a folio off its list. Under the lock. */
  deleteFolio(cpu: Cpu, folio: Page): void {
    const state = this.memMap.readState(cpu, folio);
    folioClear(this.memMap, cpu, folio, PG_LRU);
    pageListDelete(this.memMap, cpu, folio);
    this.count(cpu, state, -1);
  }

  /** `lru_activate`: moves a folio of the inactive list to the active one; others are left alone. Under the lock. */
  activateFolio(cpu: Cpu, folio: Page): void {
    const state = this.memMap.readState(cpu, folio);
    if ((state & PG_LRU) === 0n || (state & PG_ACTIVE) !== 0n) return;
    this.deleteFolio(cpu, folio);
    folioSet(this.memMap, cpu, folio, PG_ACTIVE);
    this.addFolio(cpu, folio);
  }

  /** `folio_isolate_lru`: takes a folio off its list with a reference for the caller; false if it is on none. */
  isolateFolio(cpu: Cpu, folio: Page): boolean {
    this.lockLru(cpu);
    const isolated = folioTest(this.memMap, cpu, folio, PG_LRU) && folioTryGet(this.memMap, cpu, folio);
    if (isolated) this.deleteFolio(cpu, folio);
    this.unlockLru(cpu);
    return isolated;
  }

  /**
   * `isolate_lru_folios` of one: takes the last folio of `list` (`ACTIVE_LIST` or `INACTIVE_LIST`) that is not just
   * being freed, with a reference for the caller; `NULL_PAGE` if there is none. One that is being freed waits for the lock to leave
   * the list by itself; it is passed over.
   */
  isolateLast(cpu: Cpu, list: Page): Page {
    this.lockLru(cpu);
    let folio = pageListLast(this.memMap, cpu, list);
    while (folio !== list && !folioTryGet(this.memMap, cpu, folio)) {
      folio = pageListLast(this.memMap, cpu, folio);
    }
    if (folio !== list) this.deleteFolio(cpu, folio);
    this.unlockLru(cpu);
    return folio === list ? NULL_PAGE : folio;
  }

  private listOf(state: bigint): Page {
    return (state & PG_ACTIVE) === 0n ? INACTIVE_LIST : ACTIVE_LIST;
  }

  private count(cpu: Cpu, state: bigint, sign: number): void {
    const word = (state & PG_ACTIVE) === 0n ? this.inactiveWord : this.activeWord;
    cpu.writeOnce32(word, cpu.readOnce32(word) + sign * stateNrPages(state));
  }
}
