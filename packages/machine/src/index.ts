export {
  AllocatorCorruptionError,
  CacheExhaustedError,
  DoubleFreeError,
  ForeignFreeError,
  ObjectSizeError,
  OutOfMemoryError,
} from "./alloc/errors.js";
export { FrameAllocator } from "./alloc/frame-allocator.js";
export { FrameState, FrameTable } from "./alloc/frame-table.js";
export { ObjectCache, type ObjectSource, objectCacheBytes } from "./alloc/object-cache.js";
export { createSlab, SLAB_BYTES, Slab, type SlabHandle } from "./alloc/slab.js";
export { Arena, createArenaMemory, MAX_ARENA_BYTES, MIN_ARENA_BYTES } from "./arena/arena.js";
export type { ArenaMemory } from "./arena/arena-memory.js";
export { ArenaLayoutError, ArenaReservationError, ArenaSizeError } from "./arena/errors.js";
export { FRAME_BYTES, FRAME_SHIFT, WORDS_PER_FRAME } from "./arena/layout.js";
export { type Address, NULL_ADDRESS, offset } from "./cpu/address.js";
export { clearBitsWhereOneByOne } from "./cpu/clear-bits-where.js";
export type { ClearMethod, Cpu, MemoryOrder } from "./cpu/cpu.js";
export { type HeldMode, type LockdepHooks, noLockdepHooks } from "./cpu/lockdep-hooks.js";
export type { TraceEvent, TraceValue } from "./cpu/trace-event.js";
export {
  EXITING_GUEST_MODE,
  type FlushDomain,
  type FlushRange,
  flushDomainBytes,
  flushesSentWord,
  flushRequestsWord,
  IN_GUEST_MODE,
  memberCountWord,
  memberModeWord,
  memberRequestsWord,
  OUTSIDE_GUEST_MODE,
  READING_SHADOW_PAGE_TABLES,
  REQUEST_TLB_FLUSH,
} from "./flush/flush-domain.js";
export { flushRemoteTlbs, requestAllMembers } from "./flush/flush-remote-tlbs.js";
export type { AccessKind, WordBytes } from "./layers/access-observing-cpu.js";
export { type CpuLayer, noLayer } from "./layers/cpu-layer.js";
export { ForwardingCpu } from "./layers/forwarding-cpu.js";
export {
  CircularDependencyError,
  GracePeriodInReaderError,
  HeldAtExitError,
  LockAssertionError,
  LockdepSplatError,
  RecursiveLockError,
  ReleaseNotHeldError,
  SleepInAtomicError,
} from "./layers/lockdep/errors.js";
export { type LockEdge, LockGraph, type LockGraphData } from "./layers/lockdep/lock-graph.js";
export type { LockValidator } from "./layers/lockdep/lock-validator.js";
export { type LockdepCpu, withLockdep } from "./layers/lockdep/lockdep-layer.js";
export { withAddressSanitizer } from "./layers/sanitizer/address-sanitizer.js";
export {
  AddressSanitizerError,
  AllocationOverflowError,
  type ArenaUse,
  type CheckedUse,
  MachineMemoryError,
  MisalignedAccessError,
  NeverAllocatedError,
  NullPageAccessError,
  OutOfArenaError,
  SlabRedzoneError,
  UseAfterFreeError,
  WordWidthError,
} from "./layers/sanitizer/errors.js";
export { createWordWidths, type WordWidths, withWidthCheck } from "./layers/sanitizer/width-checker.js";
export { type DurationData, DurationHistogram } from "./layers/statistics/duration-histogram.js";
export type { LockMode, LockStatisticsData } from "./layers/statistics/lock-statistics.js";
export { withRwlockTiming } from "./layers/statistics/rwlock-timing-layer.js";
export { withStatistics } from "./layers/statistics/statistics-layer.js";
export {
  type EventKind,
  type NanosecondClock,
  type StatisticsInit,
  StatisticsRecorder,
} from "./layers/statistics/statistics-recorder.js";
export {
  type LockSelection,
  type LockTotals,
  lockTotals,
  mergeStatistics,
  type StatisticsSnapshot,
} from "./layers/statistics/statistics-snapshot.js";
export { type TraceSink, traceTo } from "./layers/trace.js";
export { GracePeriodDeadlockError, UnbalancedUnlockError } from "./locks/errors.js";
export {
  type AnyLock,
  type LockClass,
  MUTEX_BYTES,
  type Mutex,
  RWLOCK_BYTES,
  type RwLock,
  SPINLOCK_BYTES,
  type SpinLock,
  type Srcu,
  srcuBytes,
} from "./locks/lock.js";
export { RCU_HEAD_BYTES, type RcuCallback } from "./rcu/rcu-callback.js";
export { CpuLimitError } from "./threads/errors.js";
export { ThreadCpu, type ThreadCpuInit } from "./threads/thread-cpu.js";
export {
  MAX_CPUS,
  type MachineHandle,
  ThreadMachine,
  type ThreadMachineInit,
} from "./threads/thread-machine.js";
