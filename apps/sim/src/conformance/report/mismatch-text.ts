import type { ConformFile } from "../../results/trace-conform-result.js";
import { paint, type Style } from "../../terminal/style.js";
import { describedFields } from "./conformance-report.js";

type ShownMismatch = ConformFile["mismatches"][number];

const INDENT = "  ";

/** A mismatch side by side: what the kernel says above what the model says, then what it means and where it belongs. */
export function mismatchText(path: string, mismatch: ShownMismatch, style: Style): string {
  const { line, what, fields, words, operation } = mismatch;
  const where = fields.length > 0 ? ` in ${fields.join(", ")}` : "";
  const head = paint(style, "bold", `${path}, line ${line}: ${what}${where}`);
  const belongs = operation === null ? [] : [`in line ${operation.line}: ${operation.text}`];
  const lines = [...sideBySide(mismatch), ...words.map((text) => `${INDENT}${text}`), ...belongs];
  return [head, ...lines.map((text) => `${INDENT}${text}`.trimEnd())].join("\n");
}

/** Both values; of two events of one name, fields in columns, and marks below those that differ. */
function sideBySide({ kernel, model, fields }: ShownMismatch): string[] {
  const [theirs, ours] = [describedFields(kernel), describedFields(model)];
  if (fields.length === 0 || fields.includes("name")) return [`kernel  ${kernel}`, `model   ${model}`];
  const columns = [...theirs].map(([name, value]) => {
    const [above, below] = [`${name}=${value}`, `${name}=${ours.get(name) ?? ""}`];
    const width = Math.max(above.length, below.length);
    const mark = fields.includes(name) ? "^".repeat(width) : "";
    return [above, below, mark].map((text) => text.padEnd(width));
  });
  const row = (title: string, index: number): string =>
    [title.padEnd(7), ...columns.map((column) => column[index]!)].join(" ");
  return [row("kernel", 0), row("model", 1), row("", 2)];
}
