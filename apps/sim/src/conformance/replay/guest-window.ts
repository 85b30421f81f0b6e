import type { AccessKind } from "@kvm-age/vcpu";

/**
 * What a vCPU is known to do between two notes: one access to each page of a list, in order. An access is over when the guest goes on
 * to a later page.
 */
export class GuestWindow {
  private next = 0;

  constructor(
    readonly vcpu: number,
    readonly kind: AccessKind,
    private readonly gfns: readonly number[],
  ) {}

  /** The accesses that are over when the guest faults at `gfn`: those before it. Empty if the page is none of the list's. */
  completedBefore(gfn: number): readonly number[] {
    const at = this.gfns.indexOf(gfn, this.next);
    return at < 0 ? [] : this.take(at);
  }

  /** The accesses that are left when the guest is done. */
  rest(): readonly number[] {
    return this.take(this.gfns.length);
  }

  private take(end: number): readonly number[] {
    const gfns = this.gfns.slice(this.next, end);
    this.next = end;
    return gfns;
  }
}
