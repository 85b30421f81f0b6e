import type { Cpu } from "@kvm-age/machine";
import { kvmSlotDirtyTrackEnabled, markPageDirtyInSlot, type Slot } from "@kvm-age/memslot";
import {
  type Gfn,
  type KvmMmuPageRole,
  makeSpte,
  type Pfn,
  type PgLevel,
  roleAdDisabled,
  roleGuestMode,
  type Spte,
} from "@kvm-age/spte";
import type { FaultingMmu } from "../mmu/faulting-mmu.js";
import type { ShadowPageTracker } from "./shadow-page-tracker.js";

/**
 * Write-back memory with the guest's PAT ignored (EPT memory type 6, IPAT): what KVM uses without assigned devices. Formats other
 * than EPT have no room for it and leave it out.
 */
const EPT_MEMORY_TYPE_WB_IPAT = 0x70n;

/** One page to be mapped (the arguments of `make_spte`). */
export interface LeafSpteInput {
  /** Role of the table that will hold the entry. */
  readonly role: KvmMmuPageRole;
  /** Level of that table, 1 … 3. */
  readonly level: PgLevel;
  readonly slot: Slot;
  /** Page to be mapped; for a huge mapping, the page of it that is wanted. The one marked in the slot's log. */
  readonly gfn: Gfn;
  readonly pfn: Pfn;
  /** Value about to be replaced. */
  readonly oldSpte: Spte;
  readonly prefetch: boolean;
  /** An unsync shadow page is being re-synced. */
  readonly synchronizing: boolean;
  /** The host mapping allows writes. */
  readonly hostWritable: boolean;
  /** What the guest's own translation allows, in the rule set's access bits; `accAll` for direct maps. */
  readonly pteAccess: number;
}

/** A leaf that is ready to be installed. */
export interface LeafSpte {
  readonly spte: Spte;
  /** Write permission was wanted and refused, because the gfn holds a shadowed guest page table or is write-tracked. */
  readonly wrprot: boolean;
}

/**
 * `make_spte`: the leaf for a page of a slot. If it is writable in a slot that logs dirty pages, the page is marked in the log
 * here, before the entry becomes visible: a page is never writable without its bit. A mark without a mapping, when the entry is
 * not installed after all, is a page reported for nothing.
 *
 * @param shadowPages who may object to write access
 */
export function makeLeafSpte(
  mmu: FaultingMmu,
  cpu: Cpu,
  shadowPages: ShadowPageTracker,
  leaf: LeafSpteInput,
): LeafSpte {
  const { role, slot, gfn, synchronizing, prefetch } = leaf;
  const result = makeSpte(mmu.format, {
    level: leaf.level,
    adDisabled: roleAdDisabled(role),
    guestMode: roleGuestMode(role),
    cpuDirtyLog: mmu.cpuDirtyLog,
    pteAccess: leaf.pteAccess,
    gfn,
    pfn: leaf.pfn,
    oldSpte: leaf.oldSpte,
    prefetch,
    synchronizing,
    hostWritable: leaf.hostWritable,
    slotDirtyLogging: kvmSlotDirtyTrackEnabled(cpu, slot),
    nxHugePageMitigation: mmu.nxHugePages,
    isMmioPfn: false,
    memoryType: EPT_MEMORY_TYPE_WB_IPAT,
    tryToUnsyncPages: () =>
      shadowPages.tryToUnsyncPages(cpu, mmu.memslots, slot, gfn, synchronizing, prefetch),
  });
  if (result.markSlotDirty) markPageDirtyInSlot(cpu, slot, gfn);
  return result;
}
