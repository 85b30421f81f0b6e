import type { TraceTextLayout } from "./format-trace-record.js";
import type { TraceCounts } from "./trace-read-report.js";

/** What stands between the counts and the events, with the option irq-info, which is on unless somebody turns it off. */
const LEGEND = `\
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
`;

/** What the text of a trace begins with, newlines included: of `perf script` nothing. */
export function traceHeader(
  { form }: Pick<TraceTextLayout, "form">,
  { entriesInBuffer, entriesWritten, cpus }: TraceCounts,
): string {
  if (form === "perf") return "";
  if (form === "trace-cmd") return `cpus=${cpus}\n`;
  const counts = `# entries-in-buffer/entries-written: ${entriesInBuffer}/${entriesWritten}   #P:${cpus}\n`;
  return `# tracer: nop\n#\n${counts}${LEGEND}`;
}
