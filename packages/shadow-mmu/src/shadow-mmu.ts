import {
  type Address,
  type Cpu,
  type FlushDomain,
  type FrameAllocator,
  offset,
  type RwLock,
  type Slab,
  type SlabHandle,
  SPINLOCK_BYTES,
  type SpinLock,
} from "@kvm-age/machine";
import type { Memslots, PrimaryMmu } from "@kvm-age/memslot";
import { type FaultingMmu, MMU_STATISTICS_BYTES, MmuStatistics } from "@kvm-age/page-fault";
import { attachKvmRmaps, type KvmRmaps, type KvmRmapsHandle } from "@kvm-age/rmap";
import type { Gfn, SpteFormat } from "@kvm-age/spte";
import type { FastPageLookup } from "./fast-page-lookup.js";
import { type GfnWriteProtector, noOtherMmu } from "./gfn-write-protector.js";
import { SPLIT_CACHES_BYTES, SplitCaches } from "./huge/split-caches.js";
import { MMU_UNSYNC_PAGES_LOCK_CLASS } from "./mmu-unsync-pages-lock.js";
import {
  linkNextWord,
  linkPreviousWord,
  possibleNxNextWord,
  possibleNxPreviousWord,
} from "./page/kvm-mmu-page.js";
import { PageList } from "./page/page-list.js";
import { defaultShadowMmuOptions, type ShadowMmuOptions } from "./shadow-mmu-options.js";
import type { UserMemory } from "./user-memory.js";

/** What the shadow MMU needs of a machine. */
export interface ShadowMmuMachine {
  readonly frames: FrameAllocator;
  createSlab(cpu: Cpu, name: string, objectBytes: number): Slab;
  slab(handle: SlabHandle): Slab;
}

/** The process that owns the VM, as the shadow MMU sees it. */
export type ShadowMmuHost = PrimaryMmu & UserMemory & FastPageLookup;

/** What the system injects; the same in every thread. */
export interface ShadowMmuComponents {
  readonly memslots: Memslots;
  readonly flushDomain: FlushDomain;
  /** The owner's page tables and, through them, the bytes of guest memory. */
  readonly host: ShadowMmuHost;
  /** Who else maps the slots. @default noOtherMmu */
  readonly otherMmu?: GfnWriteProtector;
}

/** What the user decides. Plain data. */
export interface ShadowMmuInit {
  /** `shadow` where the hardware walks one dimension; `ept` or `npt` for direct and nested tables of two. */
  readonly format: SpteFormat;
  /** Levels of the hardware's tables: 4 or 5. @default 4 */
  readonly hostLevel?: 4 | 5;
  readonly options?: Partial<ShadowMmuOptions>;
}

/** A shadow MMU as plain data for other threads. */
export interface ShadowMmuHandle {
  readonly address: Address;
  readonly headers: SlabHandle;
  readonly rmaps: KvmRmapsHandle;
  readonly init: Required<ShadowMmuInit>;
}

// Layout of the per-VM state (the parts of `struct kvm_arch` that belong to shadow pages).
const ACTIVE_FIRST = 0;
const ACTIVE_LAST = 4;
const PAGE_HASH = 8;
const N_MAX_MMU_PAGES = 12;
const INDIRECT_SHADOW_PAGES = 16;
const MMU_VALID_GEN = 20;
const POSSIBLE_NX_FIRST = 24;
const POSSIBLE_NX_COUNT = 28;
const ZERO_PAGE = 32;
const POSSIBLE_NX_LAST = 36;
const UNSYNC_PAGES_LOCK = 40;
const STATISTICS = UNSYNC_PAGES_LOCK + SPINLOCK_BYTES;
const SPLIT_CACHES = Math.ceil((STATISTICS + MMU_STATISTICS_BYTES) / 8) * 8;
/** Bytes of the per-VM state; all zero is one without pages, quota and dummy root. */
export const SHADOW_MMU_BYTES: number = SPLIT_CACHES + SPLIT_CACHES_BYTES;

/**
 * The shadow MMU of one VM: addresses of its state in the arena, its format and its strategies. Operations are functions over
 * it. Everything but fast page faults, lockless walks and aging runs under `mmu_lock` held for write.
 */
export class ShadowMmu implements FaultingMmu {
  readonly address: Address;
  readonly format: SpteFormat;
  readonly hostLevel: 4 | 5;
  readonly options: ShadowMmuOptions;
  readonly memslots: Memslots;
  readonly flushDomain: FlushDomain;
  readonly host: ShadowMmuHost;
  readonly otherMmu: GfnWriteProtector;
  readonly frames: FrameAllocator;
  /** Slab of `struct kvm_mmu_page`. */
  readonly headers: Slab;
  readonly rmaps: KvmRmaps;
  readonly mmuLock: RwLock;
  /** `mmu_unsync_pages_lock`: marks pages unsync while `mmu_lock` is held for read only. Innermost. */
  readonly unsyncPagesLock: SpinLock;
  /** `active_mmu_pages`: pages on no invalid list, newest first. Under `mmu_lock` held for write. */
  readonly activeMmuPages: PageList;
  /** `possible_nx_huge_pages`: tables that exist only for the NX mitigation, in the order of recovery. As the list above. */
  readonly possibleNxHugePages: PageList;
  readonly maxGfnExclusive: Gfn;
  readonly nxHugePages: boolean;
  readonly cpuDirtyLog: boolean;
  readonly statistics: MmuStatistics;
  /** What splitting a huge page takes descriptors and tables from. Under `slots_lock`. */
  readonly splitCaches: SplitCaches;
  private readonly init: Required<ShadowMmuInit>;

  constructor(machine: ShadowMmuMachine, handle: ShadowMmuHandle, components: ShadowMmuComponents) {
    const { memslots } = components;
    this.address = handle.address;
    this.init = handle.init;
    this.format = handle.init.format;
    this.hostLevel = handle.init.hostLevel;
    this.options = { ...defaultShadowMmuOptions, ...handle.init.options };
    this.nxHugePages = this.options.nxHugePages;
    this.cpuDirtyLog = this.options.cpuDirtyLog;
    this.memslots = memslots;
    this.flushDomain = components.flushDomain;
    this.host = components.host;
    this.otherMmu = components.otherMmu ?? noOtherMmu;
    this.frames = machine.frames;
    this.headers = machine.slab(handle.headers);
    this.mmuLock = memslots.locks.mmuLock;
    this.rmaps = attachKvmRmaps(machine, handle.rmaps, { mmuLock: this.mmuLock });
    this.unsyncPagesLock = {
      kind: "spinlock",
      address: offset(handle.address, UNSYNC_PAGES_LOCK),
      lockClass: MMU_UNSYNC_PAGES_LOCK_CLASS,
    };
    this.activeMmuPages = new PageList(
      offset(handle.address, ACTIVE_FIRST),
      offset(handle.address, ACTIVE_LAST),
      linkNextWord,
      linkPreviousWord,
    );
    this.possibleNxHugePages = new PageList(
      offset(handle.address, POSSIBLE_NX_FIRST),
      offset(handle.address, POSSIBLE_NX_LAST),
      possibleNxNextWord,
      possibleNxPreviousWord,
    );
    this.maxGfnExclusive = (memslots.options.maxGfn + 1) as Gfn;
    this.statistics = new MmuStatistics(offset(handle.address, STATISTICS));
    this.splitCaches = new SplitCaches(offset(handle.address, SPLIT_CACHES), {
      frames: machine.frames,
      headers: this.headers,
      descriptors: this.rmaps.descriptors,
    });
  }

  get handle(): ShadowMmuHandle {
    return {
      address: this.address,
      headers: this.headers.handle,
      rmaps: this.rmaps.handle,
      init: this.init,
    };
  }

  /** Whether the hardware walks two dimensions (`tdp_enabled`). */
  get tdpEnabled(): boolean {
    return this.format.mode === "ept" || this.format.mode === "npt";
  }

  /**
   * u32 `mmu_page_hash`: span of 4096 u32 bucket heads, 0 before the first shadow root of a VM with the TDP MMU. Stored with release
   * under `slots_arch_lock`, read with acquire.
   */
  get pageHashWord(): Address {
    return offset(this.address, PAGE_HASH);
  }

  /** u32 `n_max_mmu_pages`: quota. */
  get nMaxMmuPagesWord(): Address {
    return offset(this.address, N_MAX_MMU_PAGES);
  }

  /**
   * u32 `n_used_mmu_pages`: pages on no invalid list. The statistic `mmu_shadow_pages` is the counter, as in 7.3; before that it
   * was a field of its own with the same value.
   */
  get nUsedMmuPagesWord(): Address {
    return this.statistics.word("mmu_shadow_pages");
  }

  /** u32 `indirect_shadow_pages`: valid pages that shadow a guest table. Read without a lock by aging and by emulated writes. */
  get indirectShadowPagesWord(): Address {
    return offset(this.address, INDIRECT_SHADOW_PAGES);
  }

  /** u32 `mmu_valid_gen`: 0 or 1. Written under `slots_lock` and `mmu_lock` held for write. */
  get mmuValidGenWord(): Address {
    return offset(this.address, MMU_VALID_GEN);
  }

  /** u32: length of `possible_nx_huge_pages`. */
  get possibleNxCountWord(): Address {
    return offset(this.address, POSSIBLE_NX_COUNT);
  }

  /** u32: the frame of zeroes; constant. */
  get zeroPageWord(): Address {
    return offset(this.address, ZERO_PAGE);
  }

  /** Frame of zeroes: root of a context whose guest root lies in no slot (`kvm_mmu_get_dummy_root`). Never written. */
  zeroPage(cpu: Cpu): Address {
    return cpu.readOnce32(this.zeroPageWord) as Address;
  }
}
