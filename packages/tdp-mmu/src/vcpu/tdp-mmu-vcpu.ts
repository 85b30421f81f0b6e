import { type Address, type Cpu, ObjectCache, objectCacheBytes, offset } from "@kvm-age/machine";
import { SHADOW_NONPRESENT_VALUE } from "@kvm-age/spte";
import { TdpLocklessWalk } from "../iterator/tdp-lockless-walk.js";
import type { TdpMmu } from "../tdp-mmu.js";

/** `KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE`. */
const OBJECTS_PER_CACHE = 40;

/** Tables one fault can need: one for every level (`PT64_ROOT_MAX_LEVEL`). */
const TABLES_PER_FAULT = 5;

// Layout: the root word, then the caches.
const ROOT_HPA = 0;
const IN_SMM = 4;
const GUEST_MODE = 8;
const PAGE_HEADER_CACHE = 16;
const SHADOW_PAGE_CACHE = PAGE_HEADER_CACHE + objectCacheBytes(OBJECTS_PER_CACHE);
const VCPU_BYTES = SHADOW_PAGE_CACHE + objectCacheBytes(OBJECTS_PER_CACHE);

/**
 * The MMU's side of one vCPU (`struct kvm_mmu` and the memory caches of `kvm_vcpu_arch`): its root and its stock of
 * descriptors and tables. Its words are in the arena and belong to the vCPU's thread.
 */
export class TdpMmuVcpu {
  readonly pageHeaderCache: ObjectCache;
  /** Tables whose 512 entries are `SHADOW_NONPRESENT_VALUE`. */
  readonly shadowPageCache: ObjectCache;
  /** How this vCPU reads its tables without `mmu_lock`. */
  readonly locklessWalk: TdpLocklessWalk;

  /**
   * @param id number of the vCPU
   * @param address of a structure made by `createTdpMmuVcpu`
   */
  constructor(
    mmu: TdpMmu,
    readonly id: number,
    readonly address: Address,
  ) {
    this.pageHeaderCache = new ObjectCache(
      offset(address, PAGE_HEADER_CACHE),
      OBJECTS_PER_CACHE,
      mmu.headers,
    );
    this.shadowPageCache = new ObjectCache(offset(address, SHADOW_PAGE_CACHE), OBJECTS_PER_CACHE, {
      name: "shadow page cache",
      allocate: (cpu) => mmu.frames.allocateFrame(cpu, SHADOW_NONPRESENT_VALUE),
      free: (cpu, frame) => mmu.frames.freeFrame(cpu, frame),
    });
    this.locklessWalk = new TdpLocklessWalk(mmu, this);
  }

  /** u32 `mmu->root.hpa`: the root table's frame, 0 if none is loaded. What hardware walks from. */
  get rootHpaWord(): Address {
    return offset(this.address, ROOT_HPA);
  }

  /** u32: 1 while the vCPU is in system-management mode (address space 1). Changes only with no root loaded. */
  get inSmmWord(): Address {
    return offset(this.address, IN_SMM);
  }

  /**
   * u32: 1 while a nested guest without nested two-dimensional paging runs, which has roots of its own (role `guest_mode`). Changed by
   * `kvmMmuSwitchGuestMode`.
   */
  get guestModeWord(): Address {
    return offset(this.address, GUEST_MODE);
  }

  /** `mmu_topup_memory_caches`: fills the caches for one fault. Before any lock: it may wait for memory. */
  topUpMemoryCaches(cpu: Cpu): void {
    this.shadowPageCache.topUp(cpu, TABLES_PER_FAULT);
    this.pageHeaderCache.topUp(cpu, TABLES_PER_FAULT);
  }
}

/** Makes the MMU's side of vCPU number `id`, without a root. */
export function createTdpMmuVcpu(mmu: TdpMmu, cpu: Cpu, id: number): TdpMmuVcpu {
  return new TdpMmuVcpu(mmu, id, mmu.frames.allocateSpan(cpu, VCPU_BYTES));
}

/** Frees what `createTdpMmuVcpu` made. The root must have been unloaded. */
export function destroyTdpMmuVcpu(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu): void {
  vcpu.pageHeaderCache.drain(cpu);
  vcpu.shadowPageCache.drain(cpu);
  mmu.frames.freeSpan(cpu, vcpu.address);
}
