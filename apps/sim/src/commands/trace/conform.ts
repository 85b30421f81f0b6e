import { type Command, Option } from "commander";
import { readReplayableTrace } from "../../conformance/reading/read-replayable-trace.js";
import { startReplay } from "../../conformance/replay/replay-trace.js";
import { takeSteps } from "../../conformance/replay/take-steps.js";
import { conformFile, type EndedReplay } from "../../conformance/report/conform-file.js";
import { conformText } from "../../conformance/report/conform-text.js";
import { integerOption } from "../../options/integer-option.js";
import { collectProvenance } from "../../results/provenance.js";
import {
  type ConformFile,
  TRACE_CONFORM_SCHEMA_ID,
  type TraceConformResult,
} from "../../results/trace-conform-result.js";
import type { RunContext } from "../../terminal/run-context.js";
import { ExitCode } from "../exit-code.js";
import { JSON_OPTION, withExamples } from "../help.js";
import { endOfError } from "../known-error.js";
import { type JsonTarget, tell } from "../report.js";
import type { Session } from "../session.js";
import { checkJsonOutput } from "./check-output.js";
import { addTraceOptions, FILE_ARGUMENT, kernelTraceOptions, type TraceFlags } from "./trace-options.js";

interface ConformFlags extends TraceFlags {
  readonly max: number;
  readonly json?: JsonTarget;
}

const DEFAULT_MAX = 5;
const MAX_EXPLAINED = 100_000;

/** Replays a trace; null when the user interrupted before it began. */
async function replayFile(
  path: string,
  flags: ConformFlags,
  context: RunContext,
): Promise<EndedReplay | null> {
  const options = kernelTraceOptions(flags);
  const replayable = await readReplayableTrace(path, options, context);
  if (replayable === null) return null;
  const { trace, records } = replayable;
  const replay = startReplay(records, options.overrides);
  return { path, trace, replay, replayedOperations: await takeSteps(replay, path, context) };
}

/** All traces, one after the other; one that cannot be used is said to be so, and left out. */
async function replayFiles(
  session: Session,
  paths: readonly string[],
  flags: ConformFlags,
  context: RunContext,
): Promise<ConformFile[]> {
  const files: ConformFile[] = [];
  for (const path of paths) {
    if (context.signal.aborted) break;
    try {
      // Listeners for one trace go with its signal.
      const signal = AbortSignal.any([context.signal]);
      const ended = await replayFile(path, flags, { ...context, signal });
      if (ended !== null) files.push(conformFile(ended, flags.max));
    } catch (error) {
      const { exitCode, message } = endOfError(error);
      if (exitCode !== ExitCode.usage) throw error;
      session.say(message!);
      session.exitCode = ExitCode.usage;
    }
  }
  return files;
}

function failedChecks(files: readonly ConformFile[]): string[] {
  return files
    .filter(({ mismatchCount }) => mismatchCount > 0)
    .map(({ read, mismatchCount }) => `${read.file}: ${mismatchCount} differences between kernel and model`);
}

async function conform(session: Session, paths: readonly string[], flags: ConformFlags): Promise<void> {
  await checkJsonOutput(flags.json);
  const { files, interrupted } = await session.work(async (context) => ({
    files: await replayFiles(session, paths, flags, context),
    interrupted: context.signal.aborted,
  }));
  if (files.length === 0) return;
  const result: TraceConformResult = {
    schema: TRACE_CONFORM_SCHEMA_ID,
    provenance: collectProvenance(),
    interrupted,
    files,
  };
  const text = (): string => conformText(result, session.style);
  await tell(session, { result, failedChecks: failedChecks(files), text }, flags.json);
}

/** `kvm-age trace conform <file...>`: whether the packages do what the kernel did. */
export function addConformCommand(trace: Command, session: Session): void {
  const [name, description] = FILE_ARGUMENT;
  const command = trace
    .command("conform")
    .description("replay what the kernel was given on the packages, and compare what both made of it")
    .argument(name.replace(">", "...>"), description);
  withExamples(addTraceOptions(command), [
    ["kvm-age trace conform trace.txt.gz", "of a VM that was recorded from its start"],
    ["kvm-age trace conform *.trace.gz --json result.json", "several traces, the result in a file"],
  ]);
  command
    .addOption(
      new Option("--max <n>", "mismatches of each trace that are explained")
        .argParser(integerOption(0, MAX_EXPLAINED))
        .default(DEFAULT_MAX),
    )
    .option(...JSON_OPTION);
  command.action((paths: readonly string[], flags: ConformFlags) => conform(session, paths, flags));
}
