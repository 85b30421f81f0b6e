/**
 * Argument of `KVM_SET_USER_MEMORY_REGION` (kernel `struct kvm_userspace_memory_region`). Sizes and addresses
 * in bytes: integers in [0, 2^64), which must be multiples of 4096 and are therefore exact as numbers.
 */
export interface KvmUserspaceMemoryRegion {
  /** Address space in bits 31:16, id in bits 15:0. */
  readonly slot: number;
  /** `KVM_MEM_LOG_DIRTY_PAGES`, `KVM_MEM_READONLY`. */
  readonly flags: number;
  readonly guestPhysAddr: number;
  /** 0 deletes the slot. */
  readonly memorySize: number;
  readonly userspaceAddr: number;
}

/** What a request amounts to (kernel `enum kvm_mr_change`). */
export type KvmMrChange = "create" | "delete" | "move" | "flags-only";

/** Slot argument of the requests: address space in the upper half, id in the lower. */
export function slotArgument(asId: number, id: number): number {
  return asId * 65536 + id;
}
