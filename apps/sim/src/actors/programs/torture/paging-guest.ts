import { ACCESS_GUEST_PAGE_FAULT, type AccessResult } from "@kvm-age/vcpu";
import type { TortureProcessor } from "./torture-processor.js";
import { WindowedGuest } from "./windowed-guest.js";

/** A guest with paging of its own, over shadow tables. It reaches its tables at their guest-physical addresses. */
export class PagingGuest extends WindowedGuest {
  constructor(processor: TortureProcessor) {
    super(processor);
    this.loadRoot();
  }

  protected override storeEntry(gpa: number, value: bigint): void {
    const { guest, cpu } = this.processor;
    guest.store(cpu, gpa, value);
  }

  protected override invalidate(address: number): void {
    const { guest, cpu } = this.processor;
    guest.hardware.invlpg(cpu, address);
  }

  protected override flush(): void {
    const { guest, cpu } = this.processor;
    guest.hardware.flushGuestTlb(cpu);
  }

  protected override loadRoot(): void {
    const { guest, cpu } = this.processor;
    guest.hardware.loadCr3(cpu, this.windows.rootGpa(this.root));
  }

  /** A #PF that was injected. */
  protected override isOwnFault(result: AccessResult): boolean {
    return result === ACCESS_GUEST_PAGE_FAULT;
  }
}
