import type { TraceIdentity } from "../identify/trace-identity.js";
import type { TraceRecord } from "../schema/trace-record.js";
import type { AgingCall } from "../state/aging-call.js";
import { AgingCalls } from "../state/aging-calls.js";
import { GuestMemoryMap, type GuestMemoryRange } from "../state/guest-memory-map.js";
import { learnFromAgingCall, learnFromNote } from "../state/learn-memory.js";
import { agedFrames } from "./aged-frames.js";
import { HeatGrid } from "./heat-grid.js";

/** Part of a trace, in nanoseconds of its clock. */
export interface TimeWindow {
  readonly fromNs: number;
  /** Included. */
  readonly toNs: number;
}

/** Collects the answers to aging calls for a heat map, in one pass. */
export class HeatCollector {
  readonly grid: HeatGrid = new HeatGrid();
  readonly #map = new GuestMemoryMap();
  readonly #calls: AgingCalls;
  readonly #tdpMmu: boolean;
  readonly #window: TimeWindow;
  #callsInWindow = 0;

  /** @param slots places of guest memory that the user gives */
  constructor(
    { format, tdpMmu }: TraceIdentity,
    window: TimeWindow,
    slots: readonly GuestMemoryRange[] = [],
  ) {
    this.#calls = new AgingCalls(format);
    this.#tdpMmu = tdpMmu;
    this.#window = window;
    for (const slot of slots) this.#map.add(slot);
  }

  /** Aging calls in the window, whether or not the trace shows their frames and answers. */
  get calls(): number {
    return this.#callsInWindow;
  }

  observe(record: TraceRecord): void {
    const ended = this.#calls.observe(record);
    if (ended !== null) this.#callEnded(ended);
    if (record.kind === "note") learnFromNote(this.#map, record);
  }

  /** To be called at the end of the trace: takes the calls that it cuts off. */
  finish(): void {
    for (const call of this.#calls.finish()) this.#callEnded(call);
  }

  #callEnded(call: AgingCall): void {
    learnFromAgingCall(this.#map, call);
    if (call.timestampNs < this.#window.fromNs || call.timestampNs > this.#window.toNs) return;
    this.#callsInWindow++;
    this.grid.add(call.timestampNs, agedFrames(call, this.#map, this.#tdpMmu));
  }
}
