import type { TraceReadReport } from "./trace-read-report.js";

const HASH = 0x23;
const CAPITAL_C = 0x43;
const SMALL_C = 0x63;
const SMALL_V = 0x76;
const TAB = 0x09;
const OPEN_BRACKET = 0x5b;
const BLANK = 0x20;
const EQUALS = 0x3d;

const LOST = /^CPU:\d+ \[(?:LOST (\d+) EVENTS|(\d+) EVENTS DROPPED|LOST EVENTS|EVENTS DROPPED)\]$/;
const COUNTS = /^# entries-in-buffer\/entries-written: (\d+)\/(\d+)\s+#P:(\d+)$/;
/** Those of trace-cmd and of the kernel, entries of its stack traces, and those of perf's call chains. */
const MARKERS = /^(?:cpus=\d+|version = \d+|CPU \d+ is empty|\[LINE TOO BIG\]| => .*|\t *[0-9a-f]+ .*)$/;

const LONGEST_MARKER = 120;

/** Whether a line may be something else than an event, by its first bytes. */
function mayBeMarker(bytes: Buffer, start: number, end: number): boolean {
  const first = bytes[start];
  if (first === HASH || first === OPEN_BRACKET || first === CAPITAL_C) return true;
  if (first === TAB || first === SMALL_V) return true;
  if (first === SMALL_C) return bytes[start + 4] === EQUALS;
  return first === BLANK && bytes[start + 1] === EQUALS && end > start + 2;
}

function countLost(text: string, report: TraceReadReport): boolean {
  const lost = LOST.exec(text);
  if (lost === null) return false;
  const count = lost[1] ?? lost[2];
  if (count === undefined) report.lost.unknown++;
  else report.lost.events += Number(count);
  return true;
}

function takeCounts(text: string, report: TraceReadReport): void {
  const counts = COUNTS.exec(text);
  if (counts === null) return;
  const [entriesInBuffer, entriesWritten, cpus] = counts.slice(1).map(Number) as [number, number, number];
  report.header = { entriesInBuffer, entriesWritten, cpus };
}

/**
 * Takes a line that is no event: header, empty line, lost events, start of a processor's buffer, `[LINE TOO BIG]`, entries of a stack trace or call chain.
 * False if it is something else.
 */
export function readMarkerLine(bytes: Buffer, start: number, end: number, report: TraceReadReport): boolean {
  if (start === end) return true;
  if (!mayBeMarker(bytes, start, end)) return false;
  const text = bytes.toString("latin1", start, Math.min(end, start + LONGEST_MARKER));
  if (bytes[start] === HASH) {
    takeCounts(text, report);
    return true;
  }
  return countLost(text, report) || MARKERS.test(text);
}
