import type { AccessKind, AccessResult } from "@kvm-age/vcpu";
import type { TortureGuest, TortureTarget } from "./torture-guest.js";
import type { TortureProcessor } from "./torture-processor.js";

/** A guest that accesses its memory by guest-physical addresses, and has nothing to disturb. */
export class UnpagedGuest implements TortureGuest {
  constructor(private readonly processor: TortureProcessor) {}

  target(page: number): TortureTarget {
    return { page, address: this.processor.vm.gpaOf(page) };
  }

  access({ address }: TortureTarget, kind: AccessKind): AccessResult {
    return this.processor.guest.hardware.access(this.processor.cpu, address, kind);
  }

  disturb(): void {}

  finish(): void {
    this.processor.guest.hardware.exitGuest(this.processor.cpu);
  }
}
