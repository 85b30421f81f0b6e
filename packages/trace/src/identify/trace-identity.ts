import type { MmuMode, SpteFormat } from "@kvm-age/spte";
import type { TraceKernel } from "../schema/kernel-layout.js";

/** MMU modes that a trace can show. Three-level shadow paging has the leaves of four-level shadow paging and is not told apart. */
export type TraceMmuMode = Exclude<MmuMode, "pae">;

/** All of them. */
export const TRACE_MMU_MODES: readonly TraceMmuMode[] = ["ept", "npt", "shadow"];

/** Which kernel wrote a trace, with which MMU, and how its SPTEs are to be read. */
export interface TraceIdentity {
  readonly kernel: TraceKernel;
  readonly mode: TraceMmuMode;
  /** Whether the CPU maintains Accessed and Dirty in the SPTEs. */
  readonly adBits: boolean;
  /** Whether guest-physical addresses are mapped by the TDP MMU; false with shadow paging and with `kvm.tdp_mmu=N`. */
  readonly tdpMmu: boolean;
  readonly format: SpteFormat;
  /** What the answers rest on, one sentence each; at least one for each answer. */
  readonly evidence: readonly string[];
}

/** Answers that the user gives, because the trace does not. */
export interface TraceIdentityOverrides {
  readonly kernel?: TraceKernel;
  readonly mode?: TraceMmuMode;
  readonly adBits?: boolean;
}
