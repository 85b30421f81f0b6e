import type { Cpu } from "@kvm-age/machine";

const SUSPEND = Symbol("suspend");

/** One access as it was made: method, arguments, result. */
interface Access {
  readonly method: string;
  readonly text: string;
  readonly result: unknown;
}

const textOf = (values: readonly unknown[]): string => values.map(String).join(",");

/**
 * Runs an operation as the checking machines do: every access suspends it, and it is called again from the start and fed
 * what its accesses returned. Throws if a replayed access is another one than before. Returns the number of suspensions.
 */
export function runSuspended(inner: Cpu, operation: (cpu: Cpu) => void): number {
  const log: Access[] = [];
  for (let suspensions = 0; ; suspensions++) {
    let cursor = 0;
    let mayGoOn = true;
    const step = (method: string, values: readonly unknown[]): unknown => {
      const recorded = log[cursor];
      const text = textOf(values);
      if (recorded === undefined) {
        if (!mayGoOn) throw SUSPEND;
        mayGoOn = false;
        const perform = inner[method as keyof Cpu] as (...values: unknown[]) => unknown;
        log.push({ method, text, result: perform.apply(inner, [...values]) });
      } else if (recorded.method !== method || recorded.text !== text) {
        throw new Error(`access ${cursor} was ${recorded.method}(${recorded.text}), is ${method}(${text})`);
      }
      return log[cursor++]!.result;
    };
    const cpu = new Proxy(inner, {
      get: (target, name) =>
        typeof target[name as keyof Cpu] === "function"
          ? (...values: readonly unknown[]) => step(String(name), values)
          : target[name as keyof Cpu],
    });
    try {
      operation(cpu);
      return suspensions;
    } catch (error) {
      if (error !== SUSPEND) throw error;
    }
  }
}
