import { createTextEvidence, type TextEvidence } from "./text-evidence.js";

/** A line that could not be read. */
export interface DamagedLine {
  /** Line in the text, from 1. */
  readonly line: number;
  /** The line, cut to 200 characters. */
  readonly text: string;
  readonly reason: string;
}

/** What the header of a `trace` file says. */
export interface TraceCounts {
  /** Events that were in the ring buffer when the file was read. */
  readonly entriesInBuffer: number;
  /** Events that were written to it; the difference was overwritten. */
  readonly entriesWritten: number;
  /** Processors online. */
  readonly cpus: number;
}

/** What reading a trace met, beside the records. Grows while a trace is read. */
export interface TraceReadReport {
  /** Lines of text of every kind, an unfinished last one included. */
  lines: number;
  records: number;
  /** Records by name of event. Notes count as `tracing_mark_write`. */
  readonly events: Map<string, number>;
  /** Those of `events` without a layout here, probes and notes left out. At most 4096 names are told apart; the rest stands under `…`. */
  readonly unknownEvents: Map<string, number>;
  damaged: {
    count: number;
    /** The first 20. */
    readonly first: DamagedLine[];
  };
  lost: {
    /** Events that the kernel or trace-cmd says it lost. */
    events: number;
    /** Lines that say that events were lost, but not how many. */
    unknown: number;
  };
  /** The last header that was seen; null without one. */
  header: TraceCounts | null;
  /** Which kernel's layouts the text has. */
  readonly evidence: TextEvidence;
}

/** A report of nothing. */
export function createTraceReadReport(): TraceReadReport {
  return {
    lines: 0,
    records: 0,
    events: new Map(),
    unknownEvents: new Map(),
    damaged: { count: 0, first: [] },
    lost: { events: 0, unknown: 0 },
    header: null,
    evidence: createTextEvidence(),
  };
}
