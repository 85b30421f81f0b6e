import type { Address, Cpu, FrameAllocator, Slab, SlabHandle } from "@kvm-age/machine";

/** What a host mm needs of the machine it lives on; a `ThreadMachine` is one. */
export interface HostMachine {
  readonly frames: FrameAllocator;
  readonly maxCpus: number;
  createSlab(cpu: Cpu, name: string, objectBytes: number): Slab;
  slab(handle: SlabHandle): Slab;
}

/** What the user of a host decides. */
export interface HostMmInit {
  /** Host data pages of 4 KiB, pfns from 0x100000 up; [1, 2^27]. They have no bytes, only records. */
  readonly pages: number;
  /** Slots of the in-memory swap device, [0, 2^27]; 0 means that nothing can be reclaimed. @default `pages` */
  readonly swapSlots?: number;
  /** Pages in use above which `overLimit` is true, [1, `pages`]. @default `pages` */
  readonly memoryLimitPages?: number;
  /** Whether mappings made with `thp` get 2 MiB pages (`/sys/kernel/mm/transparent_hugepage/enabled`). */
  readonly transparentHugePages: boolean;
  /** Whether each page and swap slot carries a 64-bit token for its contents. */
  readonly contents: boolean;
  /** Whether a fault that finds no free page reclaims before it gives up. @default false */
  readonly directReclaim?: boolean;
  /** Most mappings at a time (`vm.max_map_count`), [1, 65530]. @default 255 */
  readonly maxMapCount?: number;
}

/** A host mm as data that crosses threads: arena addresses and the options that it was made with. */
export interface HostMmHandle {
  readonly mm: Address;
  readonly srcu: Address;
  readonly vmas: Address;
  readonly perCpu: Address;
  readonly memMap: Address;
  readonly blockCounts: Address;
  /** u32 for every page record: swap slot of a page in the swap cache (kernel `folio->swap`). */
  readonly folioSwap: Address;
  /** u64 for every page record, or 0 without contents. */
  readonly contents: Address;
  readonly swapMap: Address;
  readonly swapContents: Address;
  /** Slab of the records of page tables and frames of backed memory. */
  readonly frameRecords: SlabHandle;
  readonly pages: number;
  readonly swapSlots: number;
  readonly memoryLimitPages: number;
  readonly transparentHugePages: boolean;
  readonly directReclaim: boolean;
  readonly maxMapCount: number;
}
