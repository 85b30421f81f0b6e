import type { Cpu } from "@kvm-age/machine";
import type { Memslots, Slot } from "@kvm-age/memslot";
import type { ShadowPageTracker } from "@kvm-age/page-fault";
import type { Gfn } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuTryToUnsyncPages } from "./mmu-try-to-unsync-pages.js";

/** The shadow MMU as whoever maps guest memory must ask it before granting write access, be it another MMU. */
export class ShadowTracker implements ShadowPageTracker {
  constructor(private readonly mmu: ShadowMmu) {}

  /** As `mmuTryToUnsyncPages`; `memslots` are those of the shadow MMU. */
  tryToUnsyncPages(
    cpu: Cpu,
    _memslots: Memslots,
    slot: Slot,
    gfn: Gfn,
    synchronizing: boolean,
    prefetch: boolean,
  ): number {
    return mmuTryToUnsyncPages(this.mmu, cpu, slot, gfn, synchronizing, prefetch);
  }
}
