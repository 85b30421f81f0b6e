import { OutOfMemoryError } from "@kvm-age/machine";
import { type GuestPagingRegisters, LONG_MODE } from "@kvm-age/shadow-mmu";
import {
  identifyTrace,
  type TraceIdentity,
  type TraceIdentityOverrides,
  type TraceRecord,
} from "@kvm-age/trace";
import { isReplayed } from "../compare/replayed-events.js";
import { agevmGuestTables } from "../input/agevm-guest-tables.js";
import { AgevmNoteError } from "../input/agevm-note.js";
import { AGEVM_CODE_HVA, agevmSlots } from "../input/agevm-slots.js";
import { type AgevmStart, findAgevmStart } from "../input/agevm-start.js";
import { findVmStarts } from "../input/find-vms.js";
import { findGuestRoot } from "../input/guest-root.js";
import { inferSlots } from "../input/infer-slots.js";
import { inferTuning, type KernelTuning } from "../input/infer-tuning.js";
import type { Operation } from "../input/operation.js";
import { RecordedSlots } from "../input/recorded-slots.js";
import { rootPageLevelOf } from "../input/root-level.js";
import { splitOperations } from "../input/split-operations.js";
import { Upcoming } from "../input/upcoming.js";
import { ConformanceReport, describeEvent } from "../report/conformance-report.js";
import { type Inferences, inferencesOf } from "../report/inferences.js";
import { ReplayContext } from "./replay-context.js";
import { TraceReplay } from "./trace-replay.js";

/** A 32-bit guest that never turned paging on. */
const NO_PAGING: GuestPagingRegisters = {
  ...LONG_MODE,
  cr0Pg: false,
  cr4Pae: false,
  eferLma: false,
  eferNx: false,
};

/** A replay that has begun. */
export interface StartedReplay {
  readonly identity: TraceIdentity;
  /** What the trace shows of the recorded kernel's parameters. */
  readonly tuning: KernelTuning;
  readonly operations: readonly Operation[];
  /** To be iterated once: each step replays one operation. */
  readonly steps: Iterable<void>;
  /** What the steps so far found. */
  readonly report: ConformanceReport;
  /** What the steps so far took for granted. */
  readonly inferences: () => Inferences;
}

/**
 * Replays the inputs of a trace on the packages, and compares the outputs.
 *
 * @param overrides what the caller knows better of the kernel than the trace tells
 */
export function replayTrace(
  records: readonly TraceRecord[],
  overrides: TraceIdentityOverrides = {},
): ConformanceReport {
  const { steps, report } = startReplay(records, overrides);
  for (const _ of steps);
  return report;
}

/** A replay as `replayTrace` does it, one operation at a time. */
export function startReplay(
  records: readonly TraceRecord[],
  overrides: TraceIdentityOverrides = {},
): StartedReplay {
  const identity = identifyTrace(records, overrides);
  const replayed = records.filter(isReplayed);
  const report = new ConformanceReport();
  const upcoming = new Upcoming(replayed);
  const tuning = inferTuning(identity, replayed);
  const starts = findVmStarts(replayed, rootPageLevelOf(identity, replayed));
  const vms = starts.map((start, index) => {
    const end = starts[index + 1] ?? Number.POSITIVE_INFINITY;
    const own = replayed.filter(({ line }) => line >= start && line < end);
    return { start, context: createContext(identity, tuning, own, upcoming, report) };
  });
  const operations = splitOperations(replayed);
  const steps = replaySteps(new TraceReplay(vms), operations, report);
  return { identity, tuning, operations, steps, report, inferences: () => inferencesOf(vms, operations) };
}

/** A model that refuses an operation has nothing to say about what follows: the replay ends with that mismatch. */
function* replaySteps(
  replay: TraceReplay,
  operations: readonly Operation[],
  report: ConformanceReport,
): Generator<void> {
  for (const operation of operations) {
    try {
      replay.replay(operation);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      reportRefusal(report, operation, error);
      return;
    }
    yield;
  }
}

/** An error that the packages throw for a state that cannot be; not one of the replay's own, nor a programming error. */
function isRefusal(error: unknown): error is Error {
  const foreign = [TypeError, RangeError, ReferenceError, AgevmNoteError, OutOfMemoryError];
  return error instanceof Error && !foreign.some((type) => error instanceof type);
}

function reportRefusal(report: ConformanceReport, { line, records }: Operation, error: Error): void {
  const [first] = records;
  const kernel = first?.kind === "kvm" ? describeEvent(first) : "goes on";
  const what = "the model refuses what the kernel did, and the replay ends here";
  report.mismatch({
    kind: "event",
    line,
    what,
    kernel,
    model: `${error.name}: ${error.message}`,
    fields: [],
  });
}

/** @param records of the time in which the VM was the newest */
function createContext(
  identity: TraceIdentity,
  tuning: KernelTuning,
  records: readonly TraceRecord[],
  upcoming: Upcoming,
  report: ConformanceReport,
): ReplayContext {
  const { format, tdpMmu, kernel } = identity;
  const start = findAgevmStart(records);
  const slots = new RecordedSlots(start === null ? inferSlots(records) : agevmSlots(start));
  const config = {
    format,
    tdpMmu,
    policy: kernel === "linux-6.12" ? "locked" : "lockless",
    tuning,
    paging: start?.nonpaging === true ? NO_PAGING : { ...LONG_MODE, cr3: findGuestRoot(identity, records) },
  } as const;
  const context = new ReplayContext(
    identity,
    config,
    rootPageLevelOf(identity, records),
    start,
    slots,
    upcoming,
    report,
  );
  if (start !== null) learnAgevmTables(context, start);
  context.takeOutputs();
  return context;
}

function learnAgevmTables(context: ReplayContext, start: AgevmStart): void {
  for (const [gpa, value] of agevmGuestTables(start)) context.vm.host.learnWord(AGEVM_CODE_HVA + gpa, value);
}
