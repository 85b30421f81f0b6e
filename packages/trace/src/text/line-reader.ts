import type { KvmEvent, NoteRecord, OtherRecord, ProbeRecord, TraceRecord } from "../schema/trace-record.js";
import { DamagedLineError } from "./errors.js";
import { KVM_EVENT_TEXTS } from "./events/kvm-event-texts.js";
import { LinePrefix } from "./line-prefix.js";
import { readMarkerLine } from "./marker-line.js";
import { noteStart } from "./note-text.js";
import { PayloadScanner } from "./payload-scanner.js";
import { type ProbeFields, readProbe } from "./probe-text.js";
import { TextCache } from "./text-cache.js";
import { createTraceReadReport, type TraceReadReport } from "./trace-read-report.js";

/** How a trace is read. */
export interface TraceReadOptions {
  /** Throw at the first damaged line instead of counting it. */
  readonly strict?: boolean;
}

const MOST_NAMES = 4096;
const MOST_DAMAGED_LINES = 20;
const MOST_DAMAGED_TEXT = 200;
const CARRIAGE_RETURN = 0x0d;
const BLANK = 0x20;

/** What trace-cmd and perf print for events whose format their library cannot interpret: those of pages of page tables. */
const UNRENDERED = "[FAILED TO PARSE]";

/** trace-cmd pads shorter names to as many columns. */
const PADDED_NAME_COLUMNS = 20;

type ReadPayload = (scanner: PayloadScanner) => unknown;

/** What is known of one name of an event. */
interface NameEntry {
  readonly name: string;
  /** Null without a layout here. */
  readonly readPayload: ReadPayload | null;
  count: number;
  /** Records with this name that are neither events with a layout here, nor notes, nor probes. */
  unknown: number;
}

/** Reads lines of a trace, one after the other, and keeps the report. */
export class LineReader {
  readonly #report: TraceReadReport = createTraceReadReport();
  readonly #texts = new TextCache();
  readonly #prefix = new LinePrefix(this.#texts);
  readonly #scanner = new PayloadScanner(this.#report.evidence);
  readonly #names = new Map<string, NameEntry>();
  readonly #strict: boolean;

  constructor({ strict = false }: TraceReadOptions) {
    this.#strict = strict;
  }

  /** What was met so far. */
  get report(): TraceReadReport {
    const { events, unknownEvents } = this.#report;
    for (const { name, count, unknown } of this.#names.values()) {
      if (count > 0) events.set(name, count);
      if (unknown > 0) unknownEvents.set(name, unknown);
    }
    return this.#report;
  }

  /**
   * Reads the line in `bytes` from `start` up to, not including, `end`, where the newline is. Null if it is no event: a header, a
   * marker, an empty or a damaged line.
   *
   * @throws {DamagedLineError} if the line is damaged and reading is strict.
   */
  read(bytes: Buffer, start: number, end: number): TraceRecord | null {
    this.#report.lines++;
    if (end > start && bytes[end - 1] === CARRIAGE_RETURN) end--;
    if (readMarkerLine(bytes, start, end, this.#report)) return null;
    if (!this.#prefix.read(bytes, start, end)) {
      return this.#damaged(bytes, start, end, `expected ${this.#prefix.expected}`);
    }
    const name = this.#texts.textOf(bytes, this.#prefix.nameStart, this.#prefix.nameEnd);
    const entry = this.#names.get(name) ?? this.#newEntry(name);
    const record = this.#record(entry, name, bytes, end);
    if (record === null) return this.#damaged(bytes, start, end, this.#mismatch(start));
    entry.count++;
    this.#report.records++;
    return record;
  }

  /**
   * Counts a line that is too long to be kept; `bytes` is how it begins.
   *
   * @throws {DamagedLineError} if reading is strict.
   */
  tooLong(bytes: Buffer, limit: number): void {
    this.#report.lines++;
    this.#damaged(bytes, 0, bytes.length, `longer than ${limit} bytes`);
  }

  #damaged(bytes: Buffer, start: number, end: number, reason: string): null {
    const { damaged, lines: line } = this.#report;
    damaged.count++;
    if (!this.#strict && damaged.first.length >= MOST_DAMAGED_LINES) return null;
    // A character takes at most four bytes.
    const text = bytes.toString("utf8", start, Math.min(end, start + 4 * MOST_DAMAGED_TEXT));
    const cut = text.slice(0, MOST_DAMAGED_TEXT);
    if (this.#strict) throw new DamagedLineError(line, cut, reason);
    damaged.first.push({ line, text: cut, reason });
    return null;
  }

  #mismatch(start: number): string {
    return `expected ${this.#scanner.expected} in column ${this.#scanner.position - start + 1}`;
  }

  #newEntry(name: string): NameEntry {
    const counted = this.#names.size < MOST_NAMES ? name : "…";
    const existing = this.#names.get(counted);
    if (existing !== undefined) return existing;
    const texts: Readonly<Record<string, { readonly read: ReadPayload }>> = KVM_EVENT_TEXTS;
    const readPayload = Object.hasOwn(texts, counted) ? texts[counted]!.read : null;
    const entry: NameEntry = { name: counted, readPayload, count: 0, unknown: 0 };
    this.#names.set(counted, entry);
    return entry;
  }

  /** The record of a line whose prefix has been read; null if its payload is not that of its event. */
  #record(entry: NameEntry, name: string, bytes: Buffer, end: number): TraceRecord | null {
    if (entry.readPayload !== null) return this.#kvmEvent(name, entry.readPayload, bytes, end);
    const payloadStart = this.#withoutPadding(bytes, end);
    const textStart = noteStart(name, bytes, payloadStart, this.#prefix.payloadStart, end);
    if (textStart !== null) return this.#note(bytes.toString("utf8", textStart, end));
    const probe = readProbe(bytes, payloadStart, end, this.#texts);
    if (probe !== null) return this.#probe(name, probe);
    entry.unknown++;
    return this.#other(name, bytes.toString("utf8", payloadStart, end));
  }

  /** Where the payload begins, behind the blanks by which trace-cmd fills short names up. */
  #withoutPadding(bytes: Buffer, end: number): number {
    const { nameStart, nameEnd, payloadStart } = this.#prefix;
    const padded = payloadStart + Math.max(PADDED_NAME_COLUMNS - (nameEnd - nameStart), 0);
    for (let position = payloadStart; position < padded; position++) {
      if (position >= end || bytes[position] !== BLANK) return payloadStart;
    }
    return padded;
  }

  #kvmEvent(name: string, readPayload: ReadPayload, bytes: Buffer, end: number): KvmEvent | null {
    const { comm, pid, cpu, flags, timestampNs, payloadStart } = this.#prefix;
    let start = payloadStart;
    while (start < end && bytes[start] === BLANK) start++;
    this.#scanner.start(bytes, start, end);
    if (this.#scanner.sees(UNRENDERED))
      this.#scanner.fail("text; whoever rendered this could not do this event");
    const fields = readPayload(this.#scanner);
    if (!this.#scanner.finish()) return null;
    const line = this.#report.lines;
    return { line, comm, pid, cpu, flags, timestampNs, kind: "kvm", name, fields } as KvmEvent;
  }

  #note(text: string): NoteRecord {
    const { comm, pid, cpu, flags, timestampNs } = this.#prefix;
    return { line: this.#report.lines, comm, pid, cpu, flags, timestampNs, kind: "note", text };
  }

  #probe(name: string, { place, args, decimalArgs }: ProbeFields): ProbeRecord {
    const { comm, pid, cpu, flags, timestampNs } = this.#prefix;
    const line = this.#report.lines;
    return { line, comm, pid, cpu, flags, timestampNs, kind: "probe", name, place, args, decimalArgs };
  }

  #other(name: string, payload: string): OtherRecord {
    const { comm, pid, cpu, flags, timestampNs } = this.#prefix;
    return { line: this.#report.lines, comm, pid, cpu, flags, timestampNs, kind: "other", name, payload };
  }
}
