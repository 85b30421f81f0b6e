/** A value that a trace event may carry. */
export type TraceValue = number | bigint | string | boolean;

/**
 * One trace event: the kernel's event name and its named fields. Who emits it declares the fields; who
 * records it adds time and processor.
 */
export interface TraceEvent {
  /** Name of the kernel tracepoint, e.g. `kvm_tdp_mmu_spte_changed`. */
  readonly name: string;
  readonly fields: Readonly<Record<string, TraceValue>>;
}
