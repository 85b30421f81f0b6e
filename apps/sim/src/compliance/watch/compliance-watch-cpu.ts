import {
  type Address,
  type ClearMethod,
  type Cpu,
  ForwardingCpu,
  type LockdepHooks,
  type MemoryOrder,
  type Mutex,
  NULL_ADDRESS,
  type RwLock,
  type Srcu,
  type ThreadMachine,
} from "@kvm-age/machine";
import type { VmHandle } from "../../vm/vm.js";
import { ComplianceViolationError } from "./compliance-violation-error.js";
import type { LockState, MmuLockMode } from "./lock-state.js";
import type { WordWrite } from "./spte-write.js";
import { tableWriteRefusal } from "./table-write-refusal.js";
import { WatchedLockdepHooks } from "./watched-lockdep-hooks.js";
import { WatchedRmapHeads } from "./watched-rmap-heads.js";
import { WatchedTables } from "./watched-tables.js";

const MMU_LOCK = "kvm->mmu_lock";
const SLOTS_LOCK = "kvm->slots_lock";

/**
 * A `Cpu` that looks at every 64-bit write before it happens: who writes an SPTE or a list head must hold what the write asks for, and
 * write nothing but what it may. A list that is locked for reading must be the same when it is unlocked.
 */
export class ComplianceWatchCpu extends ForwardingCpu {
  override readonly lockdep: LockdepHooks;
  private readonly tables: WatchedTables;
  private readonly heads: WatchedRmapHeads;
  private readonly locks: LockState = { mmuLock: "none", slotHolds: 0, rmapHead: NULL_ADDRESS };
  /** What a list held when this thread locked it for reading. */
  private readerSaw: readonly number[] = [];

  constructor(inner: Cpu, machine: ThreadMachine, vm: VmHandle) {
    super(inner);
    this.tables = new WatchedTables(machine, vm);
    this.heads = new WatchedRmapHeads(machine, vm);
    this.lockdep = new WatchedLockdepHooks(inner.lockdep, this);
  }

  /** For the hooks: the thread has locked a list. */
  rmapLocked(head: Address): void {
    this.locks.rmapHead = head;
    if (this.locks.mmuLock !== "write") this.readerSaw = this.heads.entries(this.inner, head);
  }

  /** For the hooks: the thread is about to unlock a list. */
  rmapUnlocking(head: Address): void {
    if (this.locks.mmuLock === "write") return;
    const sees = this.heads.entries(this.inner, head);
    const same =
      sees.length === this.readerSaw.length && sees.every((entry, at) => entry === this.readerSaw[at]);
    if (!same) throw new ComplianceViolationError("rmap-2", "the list changed under its reader", head);
  }

  override writeOnce(address: Address, value: bigint): void {
    this.check(address, { kind: "writeOnce", value });
    this.inner.writeOnce(address, value);
  }

  override storeRelease(address: Address, value: bigint): void {
    this.check(address, { kind: "storeRelease", value });
    this.inner.storeRelease(address, value);
    if (this.locks.rmapHead === address) this.locks.rmapHead = NULL_ADDRESS;
  }

  override cmpxchg(address: Address, expected: bigint, value: bigint, order: MemoryOrder): bigint {
    this.check(address, { kind: "cmpxchg", expected, value });
    return this.inner.cmpxchg(address, expected, value, order);
  }

  override xchg(address: Address, value: bigint, order: MemoryOrder): bigint {
    this.check(address, { kind: "xchg", value });
    return this.inner.xchg(address, value, order);
  }

  override fetchAnd(address: Address, value: bigint, order: MemoryOrder): bigint {
    this.check(address, { kind: "fetchAnd", value });
    return this.inner.fetchAnd(address, value, order);
  }

  override fetchOr(address: Address, value: bigint, order: MemoryOrder): bigint {
    this.check(address, { kind: "fetchOr", value });
    return this.inner.fetchOr(address, value, order);
  }

  override fetchAdd(address: Address, value: bigint, order: MemoryOrder): bigint {
    this.check(address, { kind: "fetchAdd", value });
    return this.inner.fetchAdd(address, value, order);
  }

  override clearBitsWhere(
    address: Address,
    count: number,
    mask: bigint,
    value: bigint,
    clear: bigint,
    method: ClearMethod,
  ): number {
    // The words lie in one table.
    this.check(address, { kind: "clearBitsWhere", value: clear });
    return this.inner.clearBitsWhere(address, count, mask, value, clear, method);
  }

  override memset64(address: Address, value: bigint, count: number): void {
    this.check(address, { kind: "memset64", value });
    this.inner.memset64(address, value, count);
  }

  override readLock(lock: RwLock): void {
    this.checkMmuLockOrder(lock);
    this.inner.readLock(lock);
    this.setMmuLock(lock, "read");
  }

  override readUnlock(lock: RwLock): void {
    this.inner.readUnlock(lock);
    this.setMmuLock(lock, "none");
  }

  override writeLock(lock: RwLock): void {
    this.checkMmuLockOrder(lock);
    this.inner.writeLock(lock);
    this.setMmuLock(lock, "write");
  }

  override writeUnlock(lock: RwLock): void {
    this.inner.writeUnlock(lock);
    this.setMmuLock(lock, "none");
  }

  override mutexLock(lock: Mutex): void {
    this.inner.mutexLock(lock);
    if (lock.lockClass.name === SLOTS_LOCK) this.locks.slotHolds++;
  }

  override mutexUnlock(lock: Mutex): void {
    this.inner.mutexUnlock(lock);
    if (lock.lockClass.name === SLOTS_LOCK) this.locks.slotHolds--;
  }

  override srcuReadLock(srcu: Srcu): number {
    const index = this.inner.srcuReadLock(srcu);
    this.locks.slotHolds++;
    return index;
  }

  override srcuReadUnlock(srcu: Srcu, index: number): void {
    this.inner.srcuReadUnlock(srcu, index);
    this.locks.slotHolds--;
  }

  private setMmuLock(lock: RwLock, mode: MmuLockMode): void {
    if (lock.lockClass.name === MMU_LOCK) this.locks.mmuLock = mode;
  }

  private checkMmuLockOrder(lock: RwLock): void {
    if (lock.lockClass.name !== MMU_LOCK || this.locks.rmapHead === NULL_ADDRESS) return;
    throw new ComplianceViolationError(
      "rmap-8",
      "mmu_lock is taken while a list is locked",
      this.locks.rmapHead,
    );
  }

  private check(address: Address, write: WordWrite): void {
    const table = this.tables.tableAt(this.inner, address);
    if (table !== null) {
      const refused = tableWriteRefusal(this.tables, this.inner, table, address, write, this.locks);
      if (refused !== undefined) throw new ComplianceViolationError(refused.invariant, refused.what, address);
    } else if (this.locks.slotHolds > 0 && this.heads.isHead(this.inner, address)) {
      const refused = this.heads.refusal(this.inner, address, write, this.locks);
      if (refused !== undefined) throw new ComplianceViolationError("rmap-3", refused, address);
    }
  }
}
