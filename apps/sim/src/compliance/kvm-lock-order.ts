import { MMAP_LOCK_CLASS, PTE_LOCK_CLASS } from "@kvm-age/host-mm";
import { type LockClass, LockGraph } from "@kvm-age/machine";
import {
  MMU_LOCK_CLASS,
  MN_ACTIVE_INVALIDATE_CLASS,
  MN_INVALIDATE_LOCK_CLASS,
  SLOTS_ARCH_LOCK_CLASS,
  SLOTS_LOCK_CLASS,
  SRCU_CLASS,
} from "@kvm-age/memslot";
import { RMAP_LOCK_CLASS } from "@kvm-age/rmap";
import { MMU_UNSYNC_PAGES_LOCK_CLASS } from "@kvm-age/shadow-mmu";
import { TDP_MMU_PAGES_LOCK_CLASS } from "@kvm-age/tdp-mmu";

/** "The first may be held when the second is taken, so never the other way round." */
export interface LockOrder {
  readonly first: LockClass;
  readonly second: LockClass;
}

/** The order of KVM's locks. `kvm->lock` and `vcpu->mutex` come before all of them; nothing here takes those. */
export const KVM_LOCK_ORDER: readonly LockOrder[] = [
  { first: SLOTS_LOCK_CLASS, second: SLOTS_ARCH_LOCK_CLASS },
  { first: SLOTS_LOCK_CLASS, second: MMU_LOCK_CLASS },
  { first: SLOTS_LOCK_CLASS, second: MN_INVALIDATE_LOCK_CLASS },
  { first: SLOTS_ARCH_LOCK_CLASS, second: MN_INVALIDATE_LOCK_CLASS },
  { first: SLOTS_ARCH_LOCK_CLASS, second: MMU_LOCK_CLASS },
  // An update waits for readers of the slots, and for notifier callbacks.
  { first: SLOTS_LOCK_CLASS, second: SRCU_CLASS },
  { first: SLOTS_LOCK_CLASS, second: MN_ACTIVE_INVALIDATE_CLASS },
  { first: SLOTS_ARCH_LOCK_CLASS, second: MN_ACTIVE_INVALIDATE_CLASS },
  { first: SRCU_CLASS, second: SLOTS_ARCH_LOCK_CLASS },
  { first: SRCU_CLASS, second: MMU_LOCK_CLASS },
  { first: MN_ACTIVE_INVALIDATE_CLASS, second: MMU_LOCK_CLASS },
  { first: MMU_LOCK_CLASS, second: MMU_UNSYNC_PAGES_LOCK_CLASS },
  { first: MMU_LOCK_CLASS, second: TDP_MMU_PAGES_LOCK_CLASS },
  { first: MMU_LOCK_CLASS, second: RMAP_LOCK_CLASS },
  // The host's own, which a notifier may be called under.
  { first: MMAP_LOCK_CLASS, second: MMU_LOCK_CLASS },
  { first: PTE_LOCK_CLASS, second: MMU_LOCK_CLASS },
  { first: PTE_LOCK_CLASS, second: RMAP_LOCK_CLASS },
];

/** An order graph that knows these orders from the start, whether or not a run ever takes the locks so. */
export function kvmLockGraph(): LockGraph {
  const graph = new LockGraph();
  for (const { first, second } of KVM_LOCK_ORDER) {
    const from = first.name;
    graph.add({ from, to: second.name, heldThen: [from], at: "KVM_LOCK_ORDER (declared)", cpu: 0 });
  }
  return graph;
}
