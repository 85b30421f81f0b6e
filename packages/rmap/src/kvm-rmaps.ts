import type { Cpu, RwLock, Slab, SlabHandle } from "@kvm-age/machine";
import { PTE_LIST_DESC_BYTES } from "./descriptor/pte-list-desc.js";

/** What reverse maps need of a machine. */
export interface RmapMachine {
  createSlab(cpu: Cpu, name: string, objectBytes: number): Slab;
  slab(handle: SlabHandle): Slab;
}

/** What the system injects; the same in every thread. */
export interface KvmRmapsComponents {
  /** `kvm->mmu_lock`: who changes a list holds it for write. */
  readonly mmuLock: RwLock;
}

/** What the user decides. */
export interface KvmRmapsInit extends KvmRmapsComponents {
  /**
   * Whether adding a slot that is in the list already is an error. The look through the whole list is not the
   * kernel's, whose `pte_list_add` touches the head's descriptor only: a machine that models cost turns it off. @default true
   */
  readonly duplicateCheck?: boolean;
}

/** Reverse maps as plain data for other threads. */
export interface KvmRmapsHandle {
  readonly descriptors: SlabHandle;
  readonly duplicateCheck: boolean;
}

/** What all lists of one VM have in common: the lock above them and where descriptors come from. */
export class KvmRmaps {
  readonly mmuLock: RwLock;
  /** Slab `pte_list_desc`: source of the caches that lists grow from, and where unused descriptors return to. */
  readonly descriptors: Slab;
  readonly duplicateCheck: boolean;

  constructor(init: KvmRmapsInit & { readonly descriptors: Slab }) {
    this.mmuLock = init.mmuLock;
    this.descriptors = init.descriptors;
    this.duplicateCheck = init.duplicateCheck ?? true;
  }

  get handle(): KvmRmapsHandle {
    return { descriptors: this.descriptors.handle, duplicateCheck: this.duplicateCheck };
  }
}

/**
 * Makes the reverse maps of a VM. List heads are the caller's: 64-bit words, 0 to begin with.
 *
 * @throws OutOfMemoryError
 */
export function createKvmRmaps(cpu: Cpu, machine: RmapMachine, init: KvmRmapsInit): KvmRmaps {
  const descriptors = machine.createSlab(cpu, "pte_list_desc", PTE_LIST_DESC_BYTES);
  return new KvmRmaps({ ...init, descriptors });
}

/** Another thread's view of reverse maps. */
export function attachKvmRmaps(
  machine: RmapMachine,
  handle: KvmRmapsHandle,
  components: KvmRmapsComponents,
): KvmRmaps {
  const { duplicateCheck } = handle;
  return new KvmRmaps({ ...components, duplicateCheck, descriptors: machine.slab(handle.descriptors) });
}
