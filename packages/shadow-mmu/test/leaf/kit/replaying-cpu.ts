import {
  type Address,
  type ClearMethod,
  type Cpu,
  clearBitsWhereOneByOne,
  type FlushDomain,
  flushRemoteTlbs,
  type LockdepHooks,
  type MemoryOrder,
  type Mutex,
  noLockdepHooks,
  type RcuCallback,
  type RwLock,
  type SpinLock,
  type Srcu,
  type TraceEvent,
} from "@kvm-age/machine";

/** Thrown out of an access to suspend the operation. */
const SUSPEND = Symbol("suspend");

interface Access {
  readonly kind: string;
  readonly address: number;
  readonly result: unknown;
}

/**
 * A `Cpu` that suspends its operation at every access and resumes it by replay: the operation is called again from the
 * start and fed what its accesses returned, until it arrives where it was. The recorded accesses are compared on the
 * way, so code that is not deterministic given its accesses is found out.
 */
export class ReplayingCpu implements Cpu {
  readonly id: number;
  readonly lockdep: LockdepHooks = noLockdepHooks;
  readonly tracing: boolean;
  readonly events: TraceEvent[] = [];
  /** How often the operation was suspended. */
  suspensions = 0;
  private log: Access[] = [];
  private cursor = 0;
  private mayGoOn = false;
  private unwinding = false;

  constructor(
    private readonly inner: Cpu,
    tracing = false,
  ) {
    this.id = inner.id;
    this.tracing = tracing;
  }

  /** Runs one operation to its end, suspending it before each of its accesses. */
  run<Result>(operation: (cpu: Cpu) => Result): Result {
    this.log = [];
    for (;;) {
      this.cursor = 0;
      this.mayGoOn = true;
      this.unwinding = false;
      try {
        return operation(this);
      } catch (error) {
        if (error !== SUSPEND) throw error;
        this.suspensions++;
      }
    }
  }

  /** One step: replayed from the log, performed, or refused. */
  private step<Result>(kind: string, address: number, perform: () => Result): Result {
    if (this.unwinding) throw SUSPEND;
    const recorded = this.log[this.cursor];
    if (recorded !== undefined) {
      if (recorded.kind !== kind || recorded.address !== address) {
        throw new Error(
          `access ${this.cursor} was ${recorded.kind} of ${recorded.address}, is ${kind} of ${address}`,
        );
      }
      this.cursor++;
      return recorded.result as Result;
    }
    if (!this.mayGoOn) {
      this.unwinding = true;
      throw SUSPEND;
    }
    this.mayGoOn = false;
    const result = perform();
    this.log.push({ kind, address, result });
    this.cursor++;
    return result;
  }

  /** A release: silent while the operation unwinds. */
  private release(kind: string, address: number, perform: () => void): void {
    if (!this.unwinding) this.step(kind, address, perform);
  }

  readOnce = (a: Address): bigint => this.step("readOnce", a, () => this.inner.readOnce(a));
  writeOnce = (a: Address, v: bigint): void => this.step("writeOnce", a, () => this.inner.writeOnce(a, v));
  loadAcquire = (a: Address): bigint => this.step("loadAcquire", a, () => this.inner.loadAcquire(a));
  storeRelease = (a: Address, v: bigint): void =>
    this.step("storeRelease", a, () => this.inner.storeRelease(a, v));
  cmpxchg = (a: Address, e: bigint, r: bigint, o: MemoryOrder): bigint =>
    this.step("cmpxchg", a, () => this.inner.cmpxchg(a, e, r, o));
  xchg = (a: Address, v: bigint, o: MemoryOrder): bigint =>
    this.step("xchg", a, () => this.inner.xchg(a, v, o));
  fetchAnd = (a: Address, m: bigint, o: MemoryOrder): bigint =>
    this.step("fetchAnd", a, () => this.inner.fetchAnd(a, m, o));
  fetchOr = (a: Address, m: bigint, o: MemoryOrder): bigint =>
    this.step("fetchOr", a, () => this.inner.fetchOr(a, m, o));
  fetchAdd = (a: Address, v: bigint, o: MemoryOrder): bigint =>
    this.step("fetchAdd", a, () => this.inner.fetchAdd(a, v, o));
  clearBitsWhere = (a: Address, n: number, m: bigint, v: bigint, c: bigint, how: ClearMethod): number =>
    clearBitsWhereOneByOne(this, a, n, m, v, c, how);
  memset64 = (a: Address, v: bigint, n: number): void =>
    this.step("memset64", a, () => this.inner.memset64(a, v, n));

  readOnce32 = (a: Address): number => this.step("readOnce32", a, () => this.inner.readOnce32(a));
  writeOnce32 = (a: Address, v: number): void =>
    this.step("writeOnce32", a, () => this.inner.writeOnce32(a, v));
  loadAcquire32 = (a: Address): number => this.step("loadAcquire32", a, () => this.inner.loadAcquire32(a));
  storeRelease32 = (a: Address, v: number): void =>
    this.step("storeRelease32", a, () => this.inner.storeRelease32(a, v));
  cmpxchg32 = (a: Address, e: number, r: number, o: MemoryOrder): number =>
    this.step("cmpxchg32", a, () => this.inner.cmpxchg32(a, e, r, o));
  xchg32 = (a: Address, v: number, o: MemoryOrder): number =>
    this.step("xchg32", a, () => this.inner.xchg32(a, v, o));
  fetchAnd32 = (a: Address, m: number, o: MemoryOrder): number =>
    this.step("fetchAnd32", a, () => this.inner.fetchAnd32(a, m, o));
  fetchOr32 = (a: Address, m: number, o: MemoryOrder): number =>
    this.step("fetchOr32", a, () => this.inner.fetchOr32(a, m, o));
  fetchAdd32 = (a: Address, v: number, o: MemoryOrder): number =>
    this.step("fetchAdd32", a, () => this.inner.fetchAdd32(a, v, o));

  smpMb = (): void => this.step("smpMb", 0, () => this.inner.smpMb());
  smpRmb = (): void => this.step("smpRmb", 0, () => this.inner.smpRmb());
  smpWmb = (): void => this.step("smpWmb", 0, () => this.inner.smpWmb());
  relax = (a: Address): void => this.step("relax", a, () => this.inner.relax(a));
  needResched = (): boolean => this.step("needResched", 0, () => this.inner.needResched());
  condResched = (): void => this.step("condResched", 0, () => this.inner.condResched());
  preemptDisable = (): void => this.step("preemptDisable", 0, () => this.inner.preemptDisable());
  preemptEnable = (): void => this.release("preemptEnable", 0, () => this.inner.preemptEnable());

  readLock = (l: RwLock): void => this.step("readLock", l.address, () => this.inner.readLock(l));
  readUnlock = (l: RwLock): void => this.release("readUnlock", l.address, () => this.inner.readUnlock(l));
  writeLock = (l: RwLock): void => this.step("writeLock", l.address, () => this.inner.writeLock(l));
  writeUnlock = (l: RwLock): void => this.release("writeUnlock", l.address, () => this.inner.writeUnlock(l));
  rwlockNeedbreak = (l: RwLock): boolean =>
    this.step("needbreak", l.address, () => this.inner.rwlockNeedbreak(l));
  spinLock = (l: SpinLock): void => this.step("spinLock", l.address, () => this.inner.spinLock(l));
  spinTrylock = (l: SpinLock): boolean =>
    this.step("spinTrylock", l.address, () => this.inner.spinTrylock(l));
  spinUnlock = (l: SpinLock): void => this.release("spinUnlock", l.address, () => this.inner.spinUnlock(l));
  mutexLock = (l: Mutex): void => this.step("mutexLock", l.address, () => this.inner.mutexLock(l));
  mutexUnlock = (l: Mutex): void => this.release("mutexUnlock", l.address, () => this.inner.mutexUnlock(l));

  rcuReadLock = (): void => this.step("rcuReadLock", 0, () => this.inner.rcuReadLock());
  rcuReadUnlock = (): void => this.release("rcuReadUnlock", 0, () => this.inner.rcuReadUnlock());
  callRcu = (h: Address, c: RcuCallback): void => this.step("callRcu", h, () => this.inner.callRcu(h, c));
  synchronizeRcu = (): void => this.step("synchronizeRcu", 0, () => this.inner.synchronizeRcu());
  rcuBarrier = (): void => this.step("rcuBarrier", 0, () => this.inner.rcuBarrier());
  srcuReadLock = (s: Srcu): number => this.step("srcuReadLock", s.address, () => this.inner.srcuReadLock(s));
  srcuReadUnlock = (s: Srcu, i: number): void =>
    this.release("srcuReadUnlock", s.address, () => this.inner.srcuReadUnlock(s, i));
  synchronizeSrcu = (s: Srcu): void =>
    this.step("synchronizeSrcu", s.address, () => this.inner.synchronizeSrcu(s));
  flushRemoteTlbs = (d: FlushDomain): void => flushRemoteTlbs(this, d);
  trace = (e: TraceEvent): void => this.step("trace", 0, () => void this.events.push(e));
}
