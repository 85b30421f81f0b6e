import type { Operation } from "../input/operation.js";
import type { ReplayedVm } from "../replay/trace-replay.js";

/** How much of a replay's input the trace does not say, so that it was inferred from what comes later in the trace. */
export interface Inferences {
  /** VMs that the trace is taken to show; no event names one. */
  readonly vms: number;
  /** Memory slots whose place was inferred; 0 if the VMM's notes describe them. */
  readonly slots: number;
  /** Accessed and Dirty bits that only hardware can have set, taken over from the old value of the next change, a dump, or an answer. */
  readonly silentAccesses: number;
  /** Leaves that were taken to be invalidated, by calls of which the trace does not tell the guest pages. */
  readonly unseenUnmaps: number;
  /** Runs of outputs without an input in the trace: the input was inferred from what they are. */
  readonly unpromptedOperations: number;
}

/** The inferences of a replay so far. */
export function inferencesOf(vms: readonly ReplayedVm[], operations: readonly Operation[]): Inferences {
  const contexts = vms.map(({ context }) => context);
  const guessed = contexts.filter(({ start }) => start === null);
  return {
    vms: vms.length,
    slots: sum(guessed.map(({ slots }) => slots.all().length)),
    silentAccesses: sum(contexts.map(({ silent }) => silent.count)),
    unseenUnmaps: sum(contexts.map(({ unseenUnmaps }) => unseenUnmaps.count)),
    unpromptedOperations: operations.filter(({ kind }) => kind === "unprompted").length,
  };
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
