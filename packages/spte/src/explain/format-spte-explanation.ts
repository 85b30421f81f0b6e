import type { SpteExplanation } from "./explain-spte.js";
import { formatSpte } from "./format-spte.js";

/** Width of the longest text, 0 without any. */
function widest(texts: readonly string[]): number {
  return Math.max(0, ...texts.map((text) => text.length));
}

/** Writes an explanation as lines of text, without a newline at the end. */
export function formatSpteExplanation(explanation: SpteExplanation): string {
  const level = explanation.level === null ? "" : ` at level ${explanation.level}`;
  const head = `${formatSpte(explanation.spte)}: ${explanation.kind}${level} (${explanation.readAs})`;
  const values = explanation.fields.map((field) => `0x${field.value.toString(16)}`);
  const bitsWidth = widest(explanation.fields.map((field) => field.bits));
  const nameWidth = widest(explanation.fields.map((field) => field.name));
  const valueWidth = widest(values);
  const rows = explanation.fields.map((field, index) => {
    const columns = `${field.bits.padStart(bitsWidth)}  ${field.name.padEnd(nameWidth)}`;
    return `  ${columns}  ${values[index]!.padEnd(valueWidth)}  ${field.meaning}`;
  });
  const states = explanation.states.map((state) => `  - ${state}`);
  return [head, ...rows, ...states].join("\n");
}
