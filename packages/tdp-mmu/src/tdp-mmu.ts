import {
  type Address,
  type Cpu,
  type FlushDomain,
  type FrameAllocator,
  offset,
  type RcuCallback,
  type RwLock,
  type Slab,
  type SlabHandle,
  SPINLOCK_BYTES,
  type SpinLock,
} from "@kvm-age/machine";
import type { Memslots } from "@kvm-age/memslot";
import {
  type FaultingMmu,
  MMU_STATISTICS_BYTES,
  MmuStatistics,
  noShadowPages,
  type ShadowPageTracker,
} from "@kvm-age/page-fault";
import type { Gfn, PgLevel, SpteFormat } from "@kvm-age/spte";
import { RootStateError, TdpMmuConfigError } from "./page/errors.js";
import { KVM_MMU_PAGE_BYTES, type KvmMmuPage, sptWord } from "./page/kvm-mmu-page.js";
import { defaultTdpMmuOptions, type TdpMmuOptions } from "./tdp-mmu-options.js";
import { TDP_MMU_PAGES_LOCK_CLASS } from "./tdp-mmu-pages-lock.js";

/** What the TDP MMU needs of a machine. */
export interface TdpMmuMachine {
  readonly frames: FrameAllocator;
  createSlab(cpu: Cpu, name: string, objectBytes: number): Slab;
  slab(handle: SlabHandle): Slab;
}

/** What the system injects; the same in every thread. */
export interface TdpMmuComponents {
  readonly memslots: Memslots;
  readonly flushDomain: FlushDomain;
  /** Who shadows guest page tables. @default noShadowPages */
  readonly shadowPages?: ShadowPageTracker;
}

/** What the user decides. Plain data. */
export interface TdpMmuInit {
  readonly format: SpteFormat;
  /** Levels of the tables: 4 or 5. @default 4 */
  readonly rootLevel?: 4 | 5;
  readonly options?: Partial<TdpMmuOptions>;
}

/** A TDP MMU as plain data for other threads. */
export interface TdpMmuHandle {
  readonly address: Address;
  readonly headers: SlabHandle;
  readonly init: Required<TdpMmuInit>;
}

// Layout of the per-VM state.
const ROOTS = 0;
const PAGES = 4;
const PAGES_LOCK = 8;
const POSSIBLE_NX_HUGE_PAGES = PAGES_LOCK + SPINLOCK_BYTES;
const POSSIBLE_NX_COUNT = POSSIBLE_NX_HUGE_PAGES + 4;
const MMU_VALID_GEN = POSSIBLE_NX_COUNT + 4;
const STATISTICS = MMU_VALID_GEN + 4;
const TDP_MMU_BYTES = STATISTICS + MMU_STATISTICS_BYTES;

/**
 * The TDP MMU of one VM: addresses of its state in the arena, its format and its strategies. Operations are
 * functions over it (`kvmTdpMmuMap`, `kvmTdpMmuAgeGfnRange`, …).
 */
export class TdpMmu implements FaultingMmu {
  readonly address: Address;
  readonly format: SpteFormat;
  readonly rootLevel: PgLevel;
  readonly options: TdpMmuOptions;
  readonly nxHugePages: boolean;
  readonly cpuDirtyLog: boolean;
  readonly statistics: MmuStatistics;
  readonly memslots: Memslots;
  readonly flushDomain: FlushDomain;
  readonly shadowPages: ShadowPageTracker;
  readonly frames: FrameAllocator;
  /** Slab of `struct kvm_mmu_page`. */
  readonly headers: Slab;
  readonly mmuLock: RwLock;
  /** `tdp_mmu_pages_lock`: list edits while `mmu_lock` is held for read. Innermost. */
  readonly pagesLock: SpinLock;
  /** `tdp_mmu_max_gfn_exclusive()`: bound of every walk. */
  readonly maxGfnExclusive: Gfn;
  /** Frees an unlinked table or root after its grace period (`tdp_mmu_free_sp_rcu_callback`). */
  readonly freeSpCallback: RcuCallback;
  private readonly init: Required<TdpMmuInit>;

  constructor(machine: TdpMmuMachine, handle: TdpMmuHandle, components: TdpMmuComponents) {
    this.address = handle.address;
    this.init = handle.init;
    this.format = handle.init.format;
    this.rootLevel = handle.init.rootLevel;
    this.options = { ...defaultTdpMmuOptions, ...handle.init.options };
    this.nxHugePages = this.options.nxHugePages;
    this.cpuDirtyLog = this.options.cpuDirtyLog;
    this.statistics = new MmuStatistics(offset(handle.address, STATISTICS));
    this.memslots = components.memslots;
    this.flushDomain = components.flushDomain;
    this.shadowPages = components.shadowPages ?? noShadowPages;
    this.frames = machine.frames;
    this.headers = machine.slab(handle.headers);
    this.mmuLock = components.memslots.locks.mmuLock;
    this.pagesLock = {
      kind: "spinlock",
      address: offset(handle.address, PAGES_LOCK),
      lockClass: TDP_MMU_PAGES_LOCK_CLASS,
    };
    this.maxGfnExclusive = (components.memslots.options.maxGfn + 1) as Gfn;
    this.freeSpCallback = {
      id: handle.address,
      run: (cpu, head) => tdpMmuFreeSp(this, cpu, head as KvmMmuPage),
    };
  }

  get handle(): TdpMmuHandle {
    return { address: this.address, headers: this.headers.handle, init: this.init };
  }

  /** u32: first root of `tdp_mmu_roots`. Readers: `mmu_lock` in any mode, or RCU. Writers: `pagesLock`. */
  get rootsWord(): Address {
    return offset(this.address, ROOTS);
  }

  /** u32 `tdp_mmu_pages`: linked tables that are not roots. */
  get pagesWord(): Address {
    return offset(this.address, PAGES);
  }

  /** u32: first table of `possible_nx_huge_pages`. Under `pagesLock`. */
  get possibleNxHugePagesWord(): Address {
    return offset(this.address, POSSIBLE_NX_HUGE_PAGES);
  }

  /** u32: length of `possible_nx_huge_pages`. Under `pagesLock`. */
  get possibleNxCountWord(): Address {
    return offset(this.address, POSSIBLE_NX_COUNT);
  }

  /**
   * u32 `mmu_valid_gen`: 0 or 1, of a VM without a shadow MMU. Only the event of a fast zap shows it: roots of the TDP MMU are obsolete
   * when they are invalid. Written under `slots_lock` and `mmu_lock` held for write.
   */
  get mmuValidGenWord(): Address {
    return offset(this.address, MMU_VALID_GEN);
  }
}

/**
 * `kvm_mmu_init_tdp_mmu`: makes the state of a TDP MMU without roots.
 *
 * @throws TdpMmuConfigError if the format is not one of two-dimensional paging or a value is out of range.
 */
export function createTdpMmu(
  cpu: Cpu,
  machine: TdpMmuMachine,
  components: TdpMmuComponents,
  init: TdpMmuInit,
): TdpMmu {
  if (init.format.mode !== "ept" && init.format.mode !== "npt") {
    throw new TdpMmuConfigError("format.mode", init.format.mode, 'one of "ept", "npt"');
  }
  const rootLevel = init.rootLevel ?? 4;
  if (rootLevel !== 4 && rootLevel !== 5) throw new TdpMmuConfigError("rootLevel", rootLevel, "4 or 5");
  const ratio = init.options?.nxHugePagesRecoveryRatio ?? 0;
  if (!Number.isInteger(ratio) || ratio < 0) {
    throw new TdpMmuConfigError("nxHugePagesRecoveryRatio", ratio, "an integer from 0");
  }
  const address = machine.frames.allocateSpan(cpu, TDP_MMU_BYTES);
  const headers = machine.createSlab(cpu, "kvm_mmu_page", KVM_MMU_PAGE_BYTES);
  const full = { format: init.format, rootLevel, options: { ...init.options } };
  return new TdpMmu(machine, { address, headers: headers.handle, init: full }, components);
}

/** Another thread's view of a TDP MMU. */
export function attachTdpMmu(
  machine: TdpMmuMachine,
  handle: TdpMmuHandle,
  components: TdpMmuComponents,
): TdpMmu {
  return new TdpMmu(machine, handle, components);
}

/** `tdp_mmu_free_sp`: frees a table that nobody can reach. */
export function tdpMmuFreeSp(mmu: TdpMmu, cpu: Cpu, sp: KvmMmuPage): void {
  mmu.frames.freeFrame(cpu, cpu.readOnce32(sptWord(sp)) as Address);
  mmu.headers.free(cpu, sp);
}

/**
 * Frees the empty shell of a TDP MMU whose roots are gone.
 *
 * @throws RootStateError if roots or tables are left.
 */
export function destroyTdpMmu(mmu: TdpMmu, cpu: Cpu): void {
  const root = cpu.readOnce32(mmu.rootsWord);
  if (root !== 0) throw new RootStateError("destroyed with a root on the list", root);
  const pages = cpu.readOnce32(mmu.pagesWord);
  if (pages !== 0) throw new RootStateError(`destroyed with ${pages} linked tables`, root);
  mmu.frames.freeSpan(cpu, mmu.address);
}
