import type { AccessKind, AccessResult } from "@kvm-age/vcpu";

/** A test page, and an address by which the guest has it now. */
export interface TortureTarget {
  readonly page: number;
  readonly address: number;
}

/** What a torture run's guest does on one vCPU besides its accesses: one for each way in which guests can be mapped. */
export interface TortureGuest {
  /** An address for a test page, or for a page of the guest's choice. */
  target(page: number): TortureTarget;
  /** One access, faults of the guest's own making included, after which it mends its tables. */
  access(target: TortureTarget, kind: AccessKind): AccessResult;
  /** Does something to its page tables. */
  disturb(): void;
  /** Flushes everything that it has cached, and leaves the guest. */
  finish(): void;
}
