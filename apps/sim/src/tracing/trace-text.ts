import { formatTraceRecord, type TraceKernel, type TraceRecord, traceHeader } from "@kvm-age/trace";
import type { Progress } from "../terminal/progress.js";
import type { EventRecord } from "./event-record.js";
import { type EventStream, STREAM_WORDS, streamWords } from "./event-stream.js";
import { readEventStream } from "./event-stream-reader.js";
import { mergeStreams } from "./merge-streams.js";
import { isNote } from "./notes.js";

/** What the text needs besides the events. */
export interface TraceTextInit {
  /** Zero of the events' times, by the system's monotonic clock. */
  readonly startNs: bigint;
  /** Whose spelling of events to use. */
  readonly kernel: TraceKernel;
  readonly events: number;
  /** Events that were not kept. */
  readonly lost: number;
  /** Comment lines under the header, without the sign. */
  readonly provenance: readonly string[];
}

/** One stream, with what all of its records have in common. */
interface Task {
  readonly comm: string;
  readonly pid: number;
  readonly cpu: number;
}

function taskOf(stream: EventStream): Task {
  const words = streamWords(stream);
  return { comm: stream.comm, pid: words[STREAM_WORDS.pid]!, cpu: Math.max(0, words[STREAM_WORDS.cpu]!) };
}

/** The latency flags: interrupts, resched, context, preempt depth, migrate-disable depth. */
function flagsOf({ irqsOff, preemptDepth }: EventRecord): string {
  return `${irqsOff ? "d" : "."}..${preemptDepth === 0 ? "." : preemptDepth.toString(16)}.`;
}

function toTraceRecord({ comm, pid, cpu }: Task, event: EventRecord, startNs: number): TraceRecord {
  const timestampNs = startNs + event.ns;
  const flags = flagsOf(event);
  const { name, fields } = event;
  if (isNote(event)) {
    return { kind: "note", line: 0, comm, pid, cpu, flags, timestampNs, text: fields.text as string };
  }
  // Who emits an event gives it the fields of the schema.
  return { kind: "kvm", line: 0, comm, pid, cpu, flags, timestampNs, name, fields } as unknown as TraceRecord;
}

/** What a stream lost, at the end, because what is lost is all that came after the limit. */
function lostLine(stream: EventStream): string {
  const lost = streamWords(stream)[STREAM_WORDS.lost]!;
  return lost === 0 ? "" : `CPU:${taskOf(stream).cpu} [LOST ${lost} EVENTS]\n`;
}

/**
 * The text of a recording whose threads have ended, piece by piece: events by time, in the format of the kernel's `trace` file. However long it is, a
 * batch of each stream is in memory.
 */
export async function* traceText(
  streams: readonly EventStream[],
  { startNs, kernel, events, lost, provenance }: TraceTextInit,
  progress: Progress,
): AsyncGenerator<string> {
  yield traceHeader(
    { form: "trace" },
    { entriesInBuffer: events, entriesWritten: events + lost, cpus: streams.length },
  );
  yield provenance.map((line) => `# ${line}\n`).join("");
  const sources = streams.map((stream) => ({ origin: taskOf(stream), batches: readEventStream(stream) }));
  const zero = Number(startNs);
  const layout = { kernel, form: "trace" } as const;
  let done = 0;
  for await (const batch of mergeStreams(sources)) {
    let text = "";
    for (const [task, event] of batch)
      text += `${formatTraceRecord(toTraceRecord(task, event, zero), layout)}\n`;
    done += batch.length;
    progress.update(
      `writing the trace: ${done.toLocaleString("en-US")} of ${events.toLocaleString("en-US")} events`,
    );
    yield text;
  }
  for (const stream of streams) yield lostLine(stream);
}
