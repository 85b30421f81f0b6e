import { type Address, type Cpu, type CpuLayer, ForwardingCpu, type MemoryOrder } from "@kvm-age/machine";
import type { RecentWrites } from "./recent-writes.js";
import type { RecordingClock } from "./recording-clock.js";

/** A `Cpu` whose writes to 64-bit words, among them all SPTEs, happen at recorded moments. */
class WriteStampingCpu extends ForwardingCpu {
  constructor(
    inner: Cpu,
    private readonly clock: RecordingClock,
    private readonly writes: RecentWrites,
  ) {
    super(inner);
  }

  override cmpxchg(address: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint {
    this.clock.enter(address);
    const old = this.inner.cmpxchg(address, expected, replacement, order);
    this.clock.leave(address);
    if (old === expected) this.writes.remember(address, old, replacement, this.clock);
    return old;
  }

  override xchg(address: Address, value: bigint, order: MemoryOrder): bigint {
    this.clock.enter(address);
    const old = this.inner.xchg(address, value, order);
    this.clock.leave(address);
    this.writes.remember(address, old, value, this.clock);
    return old;
  }

  override fetchAnd(address: Address, mask: bigint, order: MemoryOrder): bigint {
    this.clock.enter(address);
    const old = this.inner.fetchAnd(address, mask, order);
    this.clock.leave(address);
    this.writes.remember(address, old, old & mask, this.clock);
    return old;
  }

  override fetchOr(address: Address, mask: bigint, order: MemoryOrder): bigint {
    this.clock.enter(address);
    const old = this.inner.fetchOr(address, mask, order);
    this.clock.leave(address);
    this.writes.remember(address, old, old | mask, this.clock);
    return old;
  }

  override writeOnce(address: Address, value: bigint): void {
    this.clock.enter(address);
    this.inner.writeOnce(address, value);
    this.clock.leave(address);
    this.writes.remember(address, null, value, this.clock);
  }

  override storeRelease(address: Address, value: bigint): void {
    this.clock.enter(address);
    this.inner.storeRelease(address, value);
    this.clock.leave(address);
    this.writes.remember(address, null, value, this.clock);
  }
}

/**
 * Makes each write to a 64-bit word and the reading of the clock one step, and remembers the last of them. The kernel's tracepoints come
 * after the write, with preemption off; a thread of ours may lose its processor for milliseconds between the two, while others
 * change the entry and tell of it first. With the write's own time, events of one entry are in the order of its
 * values.
 */
export function withStampedWrites(clock: RecordingClock, writes: RecentWrites): CpuLayer {
  return (cpu) => new WriteStampingCpu(cpu, clock, writes);
}
