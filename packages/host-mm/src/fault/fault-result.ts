/** How `handleMmFault` ended (kernel `vm_fault_t`). */
export const FaultResult = {
  /** Handled, or overtaken by another fault: look at the page table again. */
  done: 0,
  /** No free page (kernel `VM_FAULT_OOM`). */
  outOfMemory: 1,
  /** No mapping, or one that does not allow the access (kernel `VM_FAULT_SIGSEGV`). */
  segmentationFault: 2,
  /** It takes I/O or a wait, which the caller forbade (kernel `VM_FAULT_RETRY` with `FAULT_FLAG_RETRY_NOWAIT`). */
  retry: 3,
} as const;

/** One of the values of `FaultResult`. */
export type FaultResult = (typeof FaultResult)[keyof typeof FaultResult];
