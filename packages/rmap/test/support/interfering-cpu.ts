import { type Address, type Cpu, ForwardingCpu, type MemoryOrder } from "@kvm-age/machine";

/** Steps another processor can slip in front of. */
export type InterceptedStep = "readOnce" | "loadAcquire" | "storeRelease" | "cmpxchg" | "relax";

/** What happens, and before which occurrence of which step. */
export interface Interference {
  readonly step: InterceptedStep;
  readonly address: Address;
  /** Before which of the matching steps, from 1. @default 1 */
  readonly nth?: number;
  readonly act: () => void;
}

/** Lets a test do what another processor could do, right before a chosen access of an operation. */
export class InterferingCpu extends ForwardingCpu {
  /** Intercepted steps at the interferences' addresses, in order. */
  readonly steps: InterceptedStep[] = [];
  private readonly interferences: readonly Interference[];
  private readonly seen: number[];
  private happened = 0;

  constructor(inner: Cpu, ...interferences: readonly Interference[]) {
    super(inner);
    this.interferences = interferences;
    this.seen = interferences.map(() => 0);
  }

  /** Fails the test unless every interference came to pass. */
  assertAllHappened(): void {
    const { length } = this.interferences;
    if (this.happened !== length) throw new Error(`${this.happened} of ${length} interferences happened`);
  }

  private before(step: InterceptedStep, address: Address): void {
    if (this.interferences.some((interference) => interference.address === address)) this.steps.push(step);
    for (const [index, interference] of this.interferences.entries()) {
      if (interference.step !== step || interference.address !== address) continue;
      this.seen[index]! += 1;
      if (this.seen[index] !== (interference.nth ?? 1)) continue;
      this.happened++;
      interference.act();
    }
  }

  override readOnce(address: Address): bigint {
    this.before("readOnce", address);
    return this.inner.readOnce(address);
  }

  override loadAcquire(address: Address): bigint {
    this.before("loadAcquire", address);
    return this.inner.loadAcquire(address);
  }

  override storeRelease(address: Address, value: bigint): void {
    this.before("storeRelease", address);
    this.inner.storeRelease(address, value);
  }

  override cmpxchg(address: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint {
    this.before("cmpxchg", address);
    return this.inner.cmpxchg(address, expected, replacement, order);
  }

  override relax(address: Address): void {
    this.before("relax", address);
    this.inner.relax(address);
  }
}
