import { type Cpu, noLockdepHooks } from "@kvm-age/machine";

/** Thrown out of an access to suspend the operation. */
const SUSPEND = Symbol("suspend");

interface Access {
  readonly call: string;
  readonly result: unknown;
}

/**
 * Runs an operation on a processor that suspends it at every access and resumes it by replay: it is called again from the
 * start and fed what its accesses returned. Code that is not deterministic given its accesses is found out.
 *
 * @returns what the operation returns, and how often it was suspended
 */
export function runReplayed<Result>(
  inner: Cpu,
  operation: (cpu: Cpu) => Result,
): { result: Result; suspensions: number } {
  const log: Access[] = [];
  for (let suspensions = 0; ; suspensions++) {
    try {
      return { result: operation(replaying(inner, log)), suspensions };
    } catch (error) {
      if (error !== SUSPEND) throw error;
    }
  }
}

/** A processor that replays `log`, performs one access more, and refuses the next. Its lock validator is the null form. */
function replaying(inner: Cpu, log: Access[]): Cpu {
  let cursor = 0;
  let performed = false;
  const step = (call: string, perform: () => unknown): unknown => {
    const recorded = log[cursor++];
    if (recorded !== undefined) {
      if (recorded.call !== call)
        throw new Error(`access ${cursor} was ${recorded.call}, is ${call} on replay`);
      return recorded.result;
    }
    if (performed) throw SUSPEND;
    performed = true;
    const result = perform();
    log.push({ call, result });
    return result;
  };
  return new Proxy(inner, {
    get(target, key) {
      if (key === "lockdep") return noLockdepHooks;
      const member = Reflect.get(target, key);
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => step(`${String(key)}(${args})`, () => member.apply(target, args));
    },
  });
}
