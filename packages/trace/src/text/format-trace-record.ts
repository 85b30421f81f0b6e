import type { TraceKernel } from "../schema/kernel-layout.js";
import type { KvmEvent, RecordOrigin, TraceRecord } from "../schema/trace-record.js";
import { UnwritableRecordError } from "./errors.js";
import { eventSystem } from "./event-system.js";
import type { EventText } from "./events/event-text.js";
import { KVM_EVENT_TEXTS } from "./events/kvm-event-texts.js";
import { NOTE_FUNCTION } from "./note-text.js";
import { probeText } from "./probe-text.js";

/** Who prints the text: the kernel's `trace` file, `trace-cmd report`, or `perf script`. */
export type TraceForm = "trace" | "trace-cmd" | "perf";

/** How records are written as text. */
export interface TraceTextLayout {
  readonly kernel: TraceKernel;
  readonly form: TraceForm;
}

/** A name and a payload, as a form prints them. */
interface NamedText {
  readonly name: string;
  /** The trace system where it is known. */
  readonly system: string | null;
  readonly payload: string;
}

/** `%16s`: the kernel counts bytes. */
function commColumns(comm: string): string {
  return " ".repeat(Math.max(16 - Buffer.byteLength(comm), 0)) + comm;
}

/** `%5lu.%06lu` of nanoseconds, rounded down; beyond 2^53 ns to the nearest microsecond, which is the one that was read. */
function timeColumns(timestampNs: number): string {
  const microseconds =
    timestampNs <= Number.MAX_SAFE_INTEGER ? Math.floor(timestampNs / 1000) : Math.round(timestampNs / 1000);
  const fraction = String(microseconds % 1e6).padStart(6, "0");
  return `${String(Math.floor(microseconds / 1e6)).padStart(5)}.${fraction}`;
}

function cpuColumns(cpu: number): string {
  return `[${String(cpu).padStart(3, "0")}]`;
}

type FormatLine = (origin: RecordOrigin, text: NamedText) => string;

const FORMAT_LINE: Readonly<Record<TraceForm, FormatLine>> = {
  trace: ({ comm, pid, cpu, flags, timestampNs }, { name, payload }) => {
    const task = `${commColumns(comm)}-${String(pid).padEnd(7)} ${cpuColumns(cpu)}`;
    return `${task} ${flags} ${timeColumns(timestampNs)}: ${name}: ${payload}`;
  },
  "trace-cmd": ({ comm, pid, cpu, timestampNs }, { name, payload }) => {
    const task = `${commColumns(comm)}-${String(pid).padEnd(5)} ${cpuColumns(cpu)}`;
    return `${task} ${timeColumns(timestampNs)}: ${`${name}: `.padEnd(22)}${payload}`;
  },
  perf: ({ comm, pid, cpu, timestampNs }, { name, system, payload }) => {
    const task = `${commColumns(comm)} ${String(pid).padStart(7)} ${cpuColumns(cpu)}`;
    const event = system === null ? name : `${system}:${name}`;
    return `${task} ${timeColumns(timestampNs)}: ${event}: ${payload}`;
  },
};

function kvmPayload({ name, fields }: KvmEvent, kernel: TraceKernel): string {
  // The name says of which event the fields are.
  const { write } = KVM_EVENT_TEXTS[name] as EventText<KvmEvent["fields"]>;
  return write(fields, kernel);
}

/** trace-cmd and perf name notes after their event, `trace` after the function that writes them. */
function noteText(text: string, form: TraceForm): NamedText {
  if (form === "trace") return { name: NOTE_FUNCTION, system: null, payload: text };
  return { name: "print", system: "ftrace", payload: `${NOTE_FUNCTION}: ${text}` };
}

function namedText(record: TraceRecord, { kernel, form }: TraceTextLayout): NamedText {
  switch (record.kind) {
    case "kvm":
      return { name: record.name, system: eventSystem(record.name), payload: kvmPayload(record, kernel) };
    case "note":
      return noteText(record.text, form);
    case "probe":
      return { name: record.name, system: null, payload: probeText(record) };
    case "other":
      return { name: record.name, system: null, payload: record.payload };
  }
}

/**
 * The line of a record, without a newline: exact to the column what the kernel, `trace-cmd report` or `perf script` prints for that event.
 * Payloads are the kernel's in every form; flags stand in the form `trace` only. Times are in microseconds, rounded down.
 *
 * @throws {UnwritableRecordError} if the record has a field that the layout cannot print, or a newline.
 */
export function formatTraceRecord(record: TraceRecord, layout: TraceTextLayout): string {
  const text = namedText(record, layout);
  const line = FORMAT_LINE[layout.form](record, text);
  if (line.includes("\n"))
    throw new UnwritableRecordError(text.name, "text", JSON.stringify(line), "one line");
  return line;
}
