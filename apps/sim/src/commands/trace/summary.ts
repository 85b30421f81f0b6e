import { TraceSummarizer } from "@kvm-age/trace";
import type { Command } from "commander";
import { checkHasEvents, openKernelTrace } from "../../trace-reports/open-kernel-trace.js";
import { readFigures } from "../../trace-reports/read-figures.js";
import { summaryResult } from "../../trace-reports/summary-result.js";
import { summaryText } from "../../trace-reports/summary-text.js";
import { JSON_OPTION, withExamples } from "../help.js";
import { type JsonTarget, tell } from "../report.js";
import type { Session } from "../session.js";
import { checkJsonOutput } from "./check-output.js";
import { sayDamage } from "./say-damage.js";
import {
  addSlotOption,
  addTraceOptions,
  FILE_ARGUMENT,
  kernelTraceOptions,
  type SlotFlags,
  type TraceFlags,
} from "./trace-options.js";

interface SummaryFlags extends TraceFlags, SlotFlags {
  readonly json?: JsonTarget;
}

async function summarize(session: Session, file: string, flags: SummaryFlags): Promise<void> {
  await checkJsonOutput(flags.json);
  const { trace, summary, interrupted } = await session.work(async (context) => {
    const opened = await openKernelTrace(file, kernelTraceOptions(flags), context);
    const summarizer = new TraceSummarizer(opened.identity, flags.slot);
    for await (const batch of opened.batches) for (const record of batch) summarizer.observe(record);
    return { trace: opened, summary: summarizer.finish(), interrupted: context.signal.aborted };
  });
  checkHasEvents(file, trace.report());
  sayDamage(session, trace);
  const result = summaryResult(trace.identity, readFigures(file, trace, interrupted), summary);
  await tell(
    session,
    { result, failedChecks: [], text: () => summaryText(result, session.style) },
    flags.json,
  );
}

/** `kvm-age trace summary <file>`: what a trace tells. */
export function addSummaryCommand(trace: Command, session: Session): void {
  const summary = trace
    .command("summary")
    .description("events, aging calls and their answers, faults, zaps, invalidations, time from aging to use")
    .argument(...FILE_ARGUMENT);
  withExamples(summary, [
    ["kvm-age trace summary trace.txt.gz", "of a saved /sys/kernel/tracing/trace"],
    ["trace-cmd report | kvm-age trace summary - --json", "of what trace-cmd recorded, as JSON"],
  ]);
  addSlotOption(addTraceOptions(summary)).option(...JSON_OPTION);
  summary.action((file: string, flags: SummaryFlags) => summarize(session, file, flags));
}
