import {
  type Address,
  type Cpu,
  type FlushDomain,
  ForwardingCpu,
  flushRemoteTlbs,
  type SpinLock,
} from "@kvm-age/machine";

/** Lets a test do, once, what another thread could do: before the first spinlock is taken, or where a flush waits. */
export class InterferingCpu extends ForwardingCpu {
  /** Whether the moment has come. */
  happened = false;

  constructor(
    inner: Cpu,
    private readonly step: "spinLock" | "relax",
    private readonly act: (cpu: Cpu) => void,
  ) {
    super(inner);
  }

  override spinLock(lock: SpinLock): void {
    this.before("spinLock");
    this.inner.spinLock(lock);
  }

  override relax(address: Address): void {
    this.before("relax");
    this.inner.relax(address);
  }

  /** Step by step, through this `Cpu`. */
  override flushRemoteTlbs(domain: FlushDomain): void {
    flushRemoteTlbs(this, domain);
  }

  private before(step: "spinLock" | "relax"): void {
    if (step !== this.step || this.happened) return;
    this.happened = true;
    this.act(this.inner);
  }
}
