/** Guest frames that a call asked an MMU about (`kvm_age_gfn`, `kvm_test_age_gfn`). */
export interface AskedGfnRange {
  readonly start: number;
  /** Not included. */
  readonly end: number;
  /** What the MMUs said; null without a return probe. */
  readonly young: boolean | null;
}

/** A leaf whose Accessed bit, or permissions, an aging call took away. */
export interface AgedLeaf {
  readonly asId: number;
  /** First frame that the leaf maps. */
  readonly gfn: number;
  readonly level: number;
}

/** One question of the host about the age of memory, with everything the trace shows of its answer. */
export interface AgingCall {
  /** `age` clears (`clear_young`, `clear_flush_young`), `test` only looks (`test_young`). */
  readonly kind: "age" | "test";
  readonly comm: string;
  readonly pid: number;
  /** Line of the event that shows the call. */
  readonly line: number;
  readonly timestampNs: number;
  /** Host-virtual bytes asked about, the last not included. */
  readonly start: number;
  readonly end: number;
  /** Whether the memory was young; null if the trace does not show it. */
  readonly young: boolean | null;
  /** What `young` rests on; SPTE changes can only show that memory was young. */
  readonly answeredBy: "return probe" | "SPTE changes" | null;
  /** Time between the probes at entry and return; null without them. */
  readonly durationNs: number | null;
  readonly gfnRanges: readonly AskedGfnRange[];
  readonly aged: readonly AgedLeaf[];
}
