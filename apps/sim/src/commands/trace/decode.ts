import type { TraceRecord } from "@kvm-age/trace";
import type { Command } from "commander";
import { decodedLines } from "../../trace-reports/decode-lines.js";
import { LineQueue } from "../../trace-reports/line-queue.js";
import { checkHasEvents, type KernelTrace, openKernelTrace } from "../../trace-reports/open-kernel-trace.js";
import { withExamples } from "../help.js";
import type { Session } from "../session.js";
import { sayDamage } from "./say-damage.js";
import { addTraceOptions, FILE_ARGUMENT, kernelTraceOptions, type TraceFlags } from "./trace-options.js";

const INDENT = " ".repeat(24);

/** The lines up to the last record, each followed by its SPTEs in words. */
function annotated(trace: KernelTrace, lines: LineQueue, records: readonly TraceRecord[]): string[] {
  return records.flatMap((record) => {
    const words = decodedLines(trace.identity.format, record);
    return [...lines.takeThrough(record.line), ...words.map((text) => `${INDENT}| ${text}`)];
  });
}

function printLines(session: Session, lines: readonly string[]): Promise<void> {
  if (lines.length > 0) session.print(`${lines.join("\n")}\n`);
  return session.drained();
}

async function decodeTrace(session: Session, file: string, flags: TraceFlags): Promise<void> {
  const trace = await session.work(async (context) => {
    const lines = new LineQueue();
    const opened = await openKernelTrace(file, kernelTraceOptions(flags), context, (chunk) =>
      lines.push(chunk),
    );
    for await (const batch of opened.batches) await printLines(session, annotated(opened, lines, batch));
    if (!context.signal.aborted) await printLines(session, lines.takeAll());
    return opened;
  });
  checkHasEvents(file, trace.report());
  sayDamage(session, trace);
}

/** `kvm-age trace decode <file>`: the text with each SPTE in words. */
export function addDecodeTraceCommand(trace: Command, session: Session): void {
  const decode = trace
    .command("decode")
    .description("the trace itself, with every SPTE in words below its line")
    .argument(...FILE_ARGUMENT);
  withExamples(decode, [
    ["kvm-age trace decode trace.txt.gz | less", "a saved trace"],
    [
      "cat /sys/kernel/tracing/trace_pipe | kvm-age trace decode -",
      "as it happens, once its beginning is known",
    ],
  ]);
  addTraceOptions(decode);
  decode.action((file: string, flags: TraceFlags) => decodeTrace(session, file, flags));
}
