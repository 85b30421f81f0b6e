import type { Cpu } from "@kvm-age/machine";

const ACCESSES = [
  "readOnce",
  "writeOnce",
  "loadAcquire",
  "storeRelease",
  "cmpxchg",
  "xchg",
  "fetchAnd",
  "fetchOr",
  "fetchAdd",
  "readOnce32",
  "writeOnce32",
  "loadAcquire32",
  "cmpxchg32",
  "xchg32",
  "fetchAnd32",
  "fetchOr32",
] as const;

export interface Interruption {
  /** Number of the access in front of which the other operation runs. */
  readonly moment: number;
  /** Kinds of locks that the other operation would wait for: it runs when none is held. */
  readonly awaited: readonly ("spin" | "write")[];
  /** Whether the other operation would wait for something else. */
  readonly isBlocked: () => boolean;
  readonly interrupt: () => void;
}

/** A processor that lets another operation run to its end in front of one of its accesses. */
export function interruptedCpu(cpu: Cpu, interruption: Interruption): { cpu: Cpu; ran: () => boolean } {
  let left = interruption.moment;
  let held = 0;
  let ran = false;
  const spy = Object.create(cpu) as Record<string, unknown>;
  const real = cpu as unknown as Record<string, (...args: unknown[]) => unknown>;
  const wrap = (name: string, before: () => void): void => {
    spy[name] = (...args: unknown[]): unknown => {
      before();
      return real[name]?.apply(cpu, args);
    };
  };
  for (const name of ACCESSES) {
    wrap(name, () => {
      if (left-- > 0 || ran || held > 0 || interruption.isBlocked()) return;
      ran = true;
      interruption.interrupt();
    });
  }
  for (const kind of interruption.awaited) {
    wrap(`${kind}Lock`, () => held++);
    wrap(`${kind}Unlock`, () => held--);
  }
  return { cpu: spy as unknown as Cpu, ran: () => ran };
}
