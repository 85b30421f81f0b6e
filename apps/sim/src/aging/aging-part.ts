import type { Cpu, RwLock } from "@kvm-age/machine";
import type { KvmGfnRange } from "@kvm-age/memslot";

/** One MMU's answer to the aging hooks. */
export interface AgingPart {
  /** Clears the accessed state of a range; whether any of it was accessed. */
  age(cpu: Cpu, range: KvmGfnRange): boolean;
  /** Whether any of a range was accessed. */
  test(cpu: Cpu, range: KvmGfnRange): boolean;
}

/** An MMU that is not there. */
export const noAgingPart: AgingPart = {
  age: () => false,
  test: () => false,
};

/** An MMU that is asked only if it may have something to say. */
export function ifMay(may: (cpu: Cpu) => boolean, part: AgingPart): AgingPart {
  return {
    age: (cpu, range) => may(cpu) && part.age(cpu, range),
    test: (cpu, range) => may(cpu) && part.test(cpu, range),
  };
}

/**
 * An MMU that still ages under `mmu_lock` behind a notifier that does not take it, as the shadow MMU did between patches 4 and 11 of the
 * series.
 */
export function underMmuLock(mmuLock: RwLock, part: AgingPart): AgingPart {
  const locked = (cpu: Cpu, work: () => boolean): boolean => {
    cpu.writeLock(mmuLock);
    const young = work();
    cpu.writeUnlock(mmuLock);
    return young;
  };
  return {
    age: (cpu, range) => locked(cpu, () => part.age(cpu, range)),
    test: (cpu, range) => locked(cpu, () => part.test(cpu, range)),
  };
}
