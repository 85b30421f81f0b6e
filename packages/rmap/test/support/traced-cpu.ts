import type { Address, Cpu } from "@kvm-age/machine";

/** One call on a `Cpu`: the method, then its arguments as text. */
export type Call = readonly [method: string, ...args: string[]];

/** A `Cpu` that writes down every call before it hands it on; `name` says what an address is called. */
export function traced(inner: Cpu, calls: Call[], name: (address: Address) => string): Cpu {
  const text = (value: unknown): string =>
    typeof value === "number" ? name(value as Address) : String(value);
  return new Proxy(inner, {
    get(target, key) {
      const member = Reflect.get(target, key);
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        calls.push([String(key), ...args.map(text)]);
        return member.apply(target, args);
      };
    },
  });
}
