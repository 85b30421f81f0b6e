import type { TraceIdentity } from "../identify/trace-identity.js";
import type { TraceRecord } from "../schema/trace-record.js";
import type { AgingCall } from "../state/aging-call.js";
import { AgingCalls } from "../state/aging-calls.js";
import { GuestMemoryMap, type GuestMemoryRange } from "../state/guest-memory-map.js";
import { learnFromAgingCall, learnFromNote } from "../state/learn-memory.js";
import { SpteStates } from "../state/spte-states.js";
import { AgingCollector } from "./aging-summary.js";
import { FaultCollector } from "./fault-summary.js";
import { InvalidationCollector } from "./invalidation-summary.js";
import { SpteChangeCollector } from "./spte-change-summary.js";
import { TablePageCollector } from "./table-page-summary.js";
import { TaskCollector } from "./task-summary.js";
import type { TraceSummary } from "./trace-summary.js";
import { UseAfterAging } from "./use-after-aging.js";

/**
 * Summarises a trace in one pass. Memory grows with the number of pages, tasks and kinds of events that the trace shows, not with its
 * length.
 */
export class TraceSummarizer {
  readonly #map = new GuestMemoryMap();
  readonly #states: SpteStates;
  readonly #tdpMmu: boolean;
  readonly #calls: AgingCalls;
  readonly #aging = new AgingCollector();
  readonly #uses: UseAfterAging;
  readonly #faults: FaultCollector;
  readonly #changes: SpteChangeCollector;
  readonly #invalidations = new InvalidationCollector();
  readonly #tablePages = new TablePageCollector();
  readonly #tasks = new TaskCollector();
  #span: { readonly firstNs: number; lastNs: number } | null = null;

  /** @param slots places of guest memory that the user gives */
  constructor({ format, tdpMmu }: TraceIdentity, slots: readonly GuestMemoryRange[] = []) {
    for (const slot of slots) this.#map.add(slot);
    this.#tdpMmu = tdpMmu;
    this.#states = new SpteStates(format, tdpMmu);
    this.#calls = new AgingCalls(format);
    this.#uses = new UseAfterAging(format, tdpMmu, this.#map);
    this.#faults = new FaultCollector(format);
    this.#changes = new SpteChangeCollector(format);
  }

  /** Takes the next record. */
  observe(record: TraceRecord): void {
    this.#observeTime(record.timestampNs);
    const ended = this.#calls.observe(record);
    if (ended !== null) this.#callEnded(ended);
    if (record.kind === "note") learnFromNote(this.#map, record);
    this.#uses.observe(record);
    this.#faults.observe(record);
    this.#changes.observe(record);
    this.#invalidations.observe(record);
    this.#tablePages.observe(record);
    this.#tasks.observe(record);
    this.#states.apply(record);
  }

  /** What the records tell; calls and faults under way end here. */
  finish(): TraceSummary {
    for (const call of this.#calls.finish()) this.#callEnded(call);
    const states = this.#states;
    return {
      span: this.#span,
      tasks: this.#tasks.tasks,
      vcpus: this.#tasks.vcpus,
      aging: this.#aging.summary,
      useAfterAging: this.#uses.summary,
      faults: this.#faults.finish(),
      spteChanges: this.#changes.summary,
      mappedAtEnd: this.#tdpMmu
        ? [states.countLeaves(1), states.countLeaves(2), states.countLeaves(3)]
        : null,
      invalidations: this.#invalidations.rows,
      tablePages: this.#tablePages.summary,
      memory: this.#map.ranges,
    };
  }

  #observeTime(timestampNs: number): void {
    if (this.#span === null) this.#span = { firstNs: timestampNs, lastNs: timestampNs };
    else if (timestampNs > this.#span.lastNs) this.#span.lastNs = timestampNs;
  }

  #callEnded(call: AgingCall): void {
    learnFromAgingCall(this.#map, call);
    this.#aging.add(call);
    this.#uses.observeCall(call);
  }
}
