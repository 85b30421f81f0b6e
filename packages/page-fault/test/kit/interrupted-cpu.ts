import { type Address, ForwardingCpu, type MemoryOrder } from "@kvm-age/machine";

/** Lets a test do what another processor could do, right before every compare-exchange. */
export class InterruptedCpu extends ForwardingCpu {
  exchanges = 0;
  /** @param nth of the compare-exchange, from 1 */
  beforeExchange: (nth: number) => void = () => {};

  override cmpxchg(address: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint {
    this.beforeExchange(++this.exchanges);
    return this.inner.cmpxchg(address, expected, replacement, order);
  }
}
