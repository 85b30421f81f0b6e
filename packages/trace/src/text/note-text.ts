const COLON = 0x3a;
const BLANK = 0x20;

/** The kernel's function that writes notes; `trace` names notes after it. */
export const NOTE_FUNCTION = "tracing_mark_write";

/** What trace-cmd and perf call the events of notes and of `trace_printk`; the function stands in front of the text. */
const PRINT_NAMES: ReadonlySet<string> = new Set(["print", "bprint", "bputs"]);

/**
 * Where the text of a note begins; null if the event `name` is none. The text of `trace` is taken from `exactStart` as it is;
 * otherwise the function is left out, which stands with a colon at `payloadStart`.
 */
export function noteStart(
  name: string,
  bytes: Buffer,
  payloadStart: number,
  exactStart: number,
  end: number,
): number | null {
  if (name === NOTE_FUNCTION) return exactStart;
  if (!PRINT_NAMES.has(name)) return null;
  for (let position = payloadStart; position < end && bytes[position] !== BLANK; position++) {
    if (bytes[position] === COLON && bytes[position + 1] === BLANK && position + 1 < end) return position + 2;
  }
  return payloadStart;
}
