import type { AnyLock, Cpu, LockdepHooks, TraceEvent } from "@kvm-age/machine";

type AnyFunction = (...args: never[]) => unknown;

/**
 * A `Cpu` that notes lock calls and trace events, checks lock assertions, and lets a test act while it waits.
 */
export interface RecordingCpu {
  readonly cpu: Cpu;
  /**
   * Calls on the VM's locks such as `writeLock kvm->mmu_lock`, in order, mixed with what the test notes
   * itself.
   */
  readonly log: string[];
  readonly events: TraceEvent[];
  /** Locks held now, as `kvm->mmu_lock:write`. */
  held(): string[];
  /** Called when the processor relaxes, once for each function. */
  readonly onRelax: (() => void)[];
}

const MODES: Readonly<Record<string, readonly ["+" | "-", string]>> = {
  readLock: ["+", "read"],
  readUnlock: ["-", "read"],
  writeLock: ["+", "write"],
  writeUnlock: ["-", "write"],
  spinLock: ["+", "write"],
  spinUnlock: ["-", "write"],
  mutexLock: ["+", "write"],
  mutexUnlock: ["-", "write"],
  srcuReadLock: ["+", "read"],
  srcuReadUnlock: ["-", "read"],
  synchronizeSrcu: ["-", "sync"],
};

function lockdepOf(held: readonly string[]): LockdepHooks {
  const holds = (lock: AnyLock, mode: string): boolean =>
    held.some((entry) =>
      mode === "any"
        ? entry.startsWith(`${lock.lockClass.name}:`)
        : entry === `${lock.lockClass.name}:${mode}`,
    );
  const demand = (ok: boolean, what: string): void => {
    if (!ok) throw new Error(`lockdep: ${what}; held: ${held.join(", ") || "nothing"}`);
  };
  return {
    assertHeld: (lock, mode) => demand(holds(lock, mode), `${lock.lockClass.name} is not held for ${mode}`),
    assertNotHeld: (lock) => demand(!holds(lock, "any"), `${lock.lockClass.name} is held`),
    assertAnyHeld: (...locks) =>
      demand(
        locks.some((lock) => holds(lock, "any")),
        "none of the locks is held",
      ),
    assertPreemptionDisabled: () => demand(false, "preemption is not tracked"),
    assertRcuReadLockHeld: () => demand(false, "RCU is not tracked"),
    mightSleep: () =>
      demand(!held.some((entry) => /mmu_lock|mn_invalidate/.test(entry)), "sleeps in atomic context"),
    acquired: () => {},
    released: () => {},
  };
}

export function recordingCpu(inner: Cpu): RecordingCpu {
  const log: string[] = [];
  const events: TraceEvent[] = [];
  const heldNow: string[] = [];
  const onRelax: (() => void)[] = [];
  const note = (name: string, lock: AnyLock): void => {
    const [sign, mode] = MODES[name]!;
    if (!lock.lockClass.name.startsWith("kvm->")) return;
    log.push(`${name} ${lock.lockClass.name}`);
    if (mode === "sync") return;
    const entry = `${lock.lockClass.name}:${mode}`;
    if (sign === "+") heldNow.push(entry);
    else heldNow.splice(heldNow.lastIndexOf(entry), 1);
  };
  const overrides: Record<string, unknown> = {
    tracing: true,
    trace: (event: TraceEvent) => void events.push(event),
    lockdep: lockdepOf(heldNow),
    relax: () => {
      const action = onRelax.shift();
      if (action === undefined)
        throw new Error("the processor waits for something that the test does not do");
      action();
    },
  };
  const cpu = new Proxy(inner, {
    get(target, property): unknown {
      const name = String(property);
      if (name in overrides) return overrides[name];
      const value = Reflect.get(target, property) as unknown;
      if (typeof value !== "function") return value;
      const method = (value as AnyFunction).bind(target) as (...args: unknown[]) => unknown;
      if (!(name in MODES)) return method;
      return (lock: AnyLock, ...rest: unknown[]): unknown => {
        note(name, lock);
        return method(lock, ...rest);
      };
    },
  });
  return { cpu, log, events, held: () => [...heldNow], onRelax };
}
