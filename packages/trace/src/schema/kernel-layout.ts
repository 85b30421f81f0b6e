/** Kernels whose event text is known; they differ in letters and fields (`kvm_mmu_spte_requested`, page-class events, …). */
export const TRACE_KERNELS = ["linux-6.12", "linux-6.15", "linux-7.3"] as const;

/** A kernel, as far as the text of its events and its SPTEs is concerned. */
export type TraceKernel = (typeof TRACE_KERNELS)[number];
