import type { Address, Cpu, FrameAllocator, Slab, SlabHandle } from "@kvm-age/machine";
import type { MemslotMachine } from "../memslots/memslots-init.js";

/** Sizes up to which an array shares a frame with others, in bytes. Ascending. */
const SMALL_ARRAY_BYTES = [32, 256, 1024] as const;

/**
 * Zeroed arrays for slot metadata (the kernel's `kvcalloc`): small ones from slabs, so that a slot of one
 * page does not cost a frame for each array, large ones as spans. The size is not stored; whoever frees an
 * array knows it.
 */
export class MetadataArrays {
  constructor(
    private readonly frames: FrameAllocator,
    private readonly slabs: readonly Slab[],
  ) {}

  /** @throws OutOfMemoryError */
  static create(cpu: Cpu, machine: MemslotMachine): MetadataArrays {
    const slabs = SMALL_ARRAY_BYTES.map((bytes) => machine.createSlab(cpu, `memslot array ${bytes}`, bytes));
    return new MetadataArrays(machine.frames, slabs);
  }

  static attach(machine: MemslotMachine, handles: readonly SlabHandle[]): MetadataArrays {
    return new MetadataArrays(
      machine.frames,
      handles.map((handle) => machine.slab(handle)),
    );
  }

  get handles(): readonly SlabHandle[] {
    return this.slabs.map((slab) => slab.handle);
  }

  /**
   * Allocates `bytes` (1 or more), all zero.
   *
   * @throws OutOfMemoryError
   */
  allocate(cpu: Cpu, bytes: number): Address {
    const slab = this.slabFor(bytes);
    return slab === undefined ? this.frames.allocateSpan(cpu, bytes) : slab.allocate(cpu);
  }

  /** Frees an array that was allocated with the same `bytes`. */
  free(cpu: Cpu, array: Address, bytes: number): void {
    const slab = this.slabFor(bytes);
    if (slab === undefined) this.frames.freeSpan(cpu, array);
    else slab.free(cpu, array);
  }

  private slabFor(bytes: number): Slab | undefined {
    return this.slabs.find((slab) => bytes <= slab.objectBytes);
  }
}
