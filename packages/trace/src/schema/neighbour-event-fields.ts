/**
 * What the events of the `kvm` system carry that stand beside those of the MMU in most recordings: entry and exit, asynchronous page
 * faults, MMIO, the dirty ring, memory attributes. Names and number types as in `KvmEventFields`.
 */
export interface NeighbourEventFields {
  /** The vCPU enters the guest. `intr_info` and `error_code` (of an injected event) are null where the kernel does not print them (6.12). */
  readonly kvm_entry: {
    readonly vcpu: number;
    readonly rip: bigint;
    readonly intr_info: number | null;
    readonly error_code: number | null;
    /** The entry is made only to exit at once. */
    readonly immediate_exit: boolean;
  };
  /**
   * The guest left. `reason` is the processor's name for it. With `EPT_VIOLATION`, `info1` is the qualification; with AMD's `npf`, `info1` is the
   * error code and `info2` the gpa. Null: not printed, `requests` before 7.3, the others by trace-cmd's plugin.
   */
  readonly kvm_exit: {
    readonly vcpu: number;
    readonly reason: string;
    readonly rip: bigint;
    readonly info1: bigint;
    readonly info2: bigint;
    readonly intr_info: number | null;
    readonly error_code: number | null;
    readonly requests: bigint | null;
  };
  /** The fault waits for a page that is being swapped in; the vCPU may do something else. */
  readonly kvm_try_async_get_page: { readonly gva: bigint; readonly gfn: number };
  readonly kvm_async_pf_repeated_fault: { readonly gva: bigint; readonly gfn: number };
  /** The guest was told that a page is missing. `token` names the wait. */
  readonly kvm_async_pf_not_present: { readonly token: bigint; readonly gva: bigint };
  readonly kvm_async_pf_ready: { readonly token: bigint; readonly gva: bigint };
  /** The page is there. `address` is its hva. */
  readonly kvm_async_pf_completed: { readonly gva: bigint; readonly address: number };
  readonly kvm_fast_mmio: { readonly gpa: number };
  readonly kvm_mmio: {
    readonly type: "read" | "write" | "unsatisfied-read";
    readonly len: number;
    readonly gpa: number;
    readonly val: bigint;
  };
  /** `offset` in 4 KiB pages of the slot; the low 16 bits of `slot` are the slot's id, those above the address space's. */
  readonly kvm_dirty_ring_push: {
    readonly index: number;
    readonly dirty_index: number;
    readonly reset_index: number;
    readonly slot: number;
    readonly offset: number;
    readonly used: number;
  };
  readonly kvm_dirty_ring_reset: {
    readonly index: number;
    readonly dirty_index: number;
    readonly reset_index: number;
    readonly used: number;
  };
  /** The ring is full; the vCPU goes back to user space. */
  readonly kvm_dirty_ring_exit: { readonly vcpu: number };
  /** gfns from `start` up to, not including, `end`. Since 6.15 or later. */
  readonly kvm_vm_set_mem_attributes: {
    readonly start: number;
    readonly end: number;
    readonly attr: bigint;
  };
}
