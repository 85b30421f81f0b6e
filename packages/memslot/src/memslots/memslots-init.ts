import type { Cpu, FrameAllocator, Slab, SlabHandle } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { MemslotsInitError } from "../errors.js";

/** What memslots need of a machine. */
export interface MemslotMachine {
  readonly frames: FrameAllocator;
  readonly maxCpus: number;
  createSlab(cpu: Cpu, name: string, objectBytes: number): Slab;
  slab(handle: SlabHandle): Slab;
}

/** What the creator of a VM decides. */
export interface MemslotsInit {
  /** Highest gfn that the MMU can map (kernel `kvm_mmu_max_gfn`), at most 2^40 - 1. */
  readonly maxGfn: Gfn;
  /** Address spaces: 2 with system management mode. @default 2 */
  readonly nrAddressSpaces?: 1 | 2;
  /**
   * Whether guests are mapped by the TDP MMU, so that rmaps are needed only once a shadow root exists.
   * @default true
   */
  readonly tdpMmuEnabled?: boolean;
  /**
   * Whether the hardware walks two dimensions, so that write tracking waits for a shadow root too. @default
   * true
   */
  readonly tdpEnabled?: boolean;
  /** `KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE`: reading the dirty log does not clear it. @default false */
  readonly dirtyLogManualProtect?: boolean;
  /** `KVM_DIRTY_LOG_INITIALLY_SET`: bitmaps start all set. Needs manual protection. @default false */
  readonly dirtyLogInitiallySet?: boolean;
  /**
   * A prefetch into a slot being deleted spins like a fault (Linux 6.15) or fails (7.3). @default "EAGAIN"
   */
  readonly prefetchIntoInvalidSlot?: "retry" | "EAGAIN";
}

/** The same with every default in place. */
export type MemslotsOptions = Required<MemslotsInit>;

const MAX_GFN_LIMIT = 2 ** 40 - 1;

/** @throws MemslotsInitError for an option outside its range. */
export function resolveMemslotsInit(init: MemslotsInit): MemslotsOptions {
  const options: MemslotsOptions = {
    maxGfn: init.maxGfn,
    nrAddressSpaces: init.nrAddressSpaces ?? 2,
    tdpMmuEnabled: init.tdpMmuEnabled ?? true,
    tdpEnabled: init.tdpEnabled ?? true,
    dirtyLogManualProtect: init.dirtyLogManualProtect ?? false,
    dirtyLogInitiallySet: init.dirtyLogInitiallySet ?? false,
    prefetchIntoInvalidSlot: init.prefetchIntoInvalidSlot ?? "EAGAIN",
  };
  const { maxGfn, nrAddressSpaces } = options;
  if (!Number.isInteger(maxGfn) || maxGfn < 0 || maxGfn > MAX_GFN_LIMIT) {
    throw new MemslotsInitError("maxGfn", maxGfn, `an integer in [0, ${MAX_GFN_LIMIT}]`);
  }
  if (nrAddressSpaces !== 1 && nrAddressSpaces !== 2) {
    throw new MemslotsInitError("nrAddressSpaces", nrAddressSpaces, "1 or 2");
  }
  if (options.dirtyLogInitiallySet && !options.dirtyLogManualProtect) {
    throw new MemslotsInitError("dirtyLogInitiallySet", true, "false without dirtyLogManualProtect");
  }
  return options;
}
