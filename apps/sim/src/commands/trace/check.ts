import { LegalityChecker, type LegalityReport } from "@kvm-age/trace";
import type { Command } from "commander";
import { integerOption } from "../../options/integer-option.js";
import type { RunContext } from "../../terminal/run-context.js";
import { type CheckedTrace, checkResult } from "../../trace-reports/check-result.js";
import { checkText } from "../../trace-reports/check-text.js";
import { type KeptInput, keepInput } from "../../trace-reports/kept-input.js";
import { linesOfText } from "../../trace-reports/lines-of-text.js";
import { LostLines } from "../../trace-reports/lost-lines.js";
import { checkHasEvents, openKernelTrace } from "../../trace-reports/open-kernel-trace.js";
import { readFigures } from "../../trace-reports/read-figures.js";
import { JSON_OPTION, withExamples } from "../help.js";
import { type JsonTarget, tell } from "../report.js";
import type { Session } from "../session.js";
import { checkJsonOutput } from "./check-output.js";
import { sayDamage } from "./say-damage.js";
import { addTraceOptions, FILE_ARGUMENT, kernelTraceOptions, type TraceFlags } from "./trace-options.js";

const DEFAULT_MAX = 20;
const LARGEST_MAX = 100_000;

interface CheckFlags extends TraceFlags {
  readonly max: number;
  readonly json?: JsonTarget;
}

interface Checked {
  readonly trace: Awaited<ReturnType<typeof openKernelTrace>>;
  readonly checked: CheckedTrace;
  readonly report: LegalityReport;
  readonly texts: ReadonlyMap<number, string>;
}

/** Judges the records of a trace, which is read twice if there are lines to show. */
async function judge(
  file: string,
  { path, signal }: KeptInput,
  flags: CheckFlags,
  context: RunContext,
): Promise<Checked> {
  const lost = new LostLines();
  const trace = await openKernelTrace(path, kernelTraceOptions(flags), { ...context, signal }, (chunk) =>
    lost.push(chunk),
  );
  const checker = new LegalityChecker(trace.identity, { maxViolations: flags.max });
  let unjudgedGaps = 0;
  for await (const batch of trace.batches) {
    for (const record of batch) {
      const gaps = lost.takeThrough(record.line);
      if (gaps > 0) checker.eventsWereLost();
      unjudgedGaps += gaps;
      checker.observe(record);
    }
  }
  const report = checker.finish();
  const read = readFigures(file, trace, context.signal.aborted);
  const texts = await linesOfText(
    path,
    report.violations.map(({ line }) => line),
  );
  return { trace, checked: { identity: trace.identity, read, unjudgedGaps }, report, texts };
}

async function checkTraceFile(session: Session, file: string, flags: CheckFlags): Promise<void> {
  await checkJsonOutput(flags.json);
  const { trace, checked, report, texts } = await session.work(async (context) => {
    const kept = await keepInput(file, context.signal);
    try {
      return await judge(file, kept, flags, context);
    } finally {
      await kept.release();
    }
  });
  checkHasEvents(file, trace.report());
  sayDamage(session, trace);
  const result = checkResult(checked, report, texts);
  const failedChecks =
    result.violationCount === 0
      ? []
      : [
          `${result.violationCount === 1 ? "a line breaks" : `${result.violationCount} lines break`} a rule of the kernel`,
        ];
  await tell(session, { result, failedChecks, text: () => checkText(result, session.style) }, flags.json);
}

/** `kvm-age trace check <file>`: whether every SPTE transition is one that the kernel makes. */
export function addCheckCommand(trace: Command, session: Session): void {
  const check = trace
    .command("check")
    .description("judge every SPTE transition by the kernel's rules; exit code 1 if one is broken")
    .argument(...FILE_ARGUMENT);
  withExamples(check, [
    [
      "kvm-age trace check trace.txt.gz",
      "each line that no legal history explains, with the entry's history",
    ],
    ["kvm-age trace check trace.txt.gz --json", "as JSON"],
  ]);
  addTraceOptions(check)
    .option("--max <count>", "violations to show", integerOption(0, LARGEST_MAX), DEFAULT_MAX)
    .option(...JSON_OPTION);
  check.action((file: string, flags: CheckFlags) => checkTraceFile(session, file, flags));
}
