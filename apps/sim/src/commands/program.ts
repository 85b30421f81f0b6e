import { Command } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { addCompareCommand } from "./compare.js";
import { addDecodeCommand } from "./decode.js";
import { addDemoCommand } from "./demo.js";
import { withExamples } from "./help.js";
import { endOfError } from "./known-error.js";
import { addListCommand } from "./list.js";
import { addRunCommand } from "./run.js";
import { addSchemaCommand } from "./schema.js";
import type { Session } from "./session.js";
import { addTraceCommand } from "./trace/trace-command.js";

/** The whole command line; parsing throws instead of ending the process. */
export function createProgram(session: Session): Command {
  const program = new Command("kvm-age")
    .description("KVM's aging of guest pages, with and without mmu_lock, on real threads")
    .version(packageJson.version)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => session.print(text),
      writeErr: (text) => session.say(text.trimEnd()),
      outputError: (text, write) => write(text.replace(/^error: /, "kvm-age: ")),
    });
  withExamples(program, [
    ["kvm-age demo", "locked against lockless aging, in under a minute"],
    ["kvm-age run access-tracking -v 2 -b 64M", "the phases of access_tracking_perf_test"],
    ["kvm-age run nested", "what aging sees of a nested guest"],
    ["kvm-age compare replay --trace app.lackey.gz", "two policies under a recorded workload"],
    ["kvm-age decode 0x80a0000012345f77", "a page-table entry in words"],
    ["kvm-age trace summary trace.txt.gz", "what a trace of a real kernel tells"],
  ]);
  addRunCommand(program, session);
  addCompareCommand(program, session);
  addListCommand(program, session);
  addDecodeCommand(program, session);
  addTraceCommand(program, session);
  addSchemaCommand(program, session);
  addDemoCommand(program, session);
  return program;
}

/** Runs one command line; afterwards `session.exitCode` says how it went. Never throws. */
export async function runProgram(session: Session, args: readonly string[]): Promise<void> {
  try {
    await createProgram(session).parseAsync([...args], { from: "user" });
  } catch (error) {
    const { exitCode, message } = endOfError(error);
    if (message !== null) session.say(message);
    session.exitCode = exitCode;
  }
}
