import type { Command } from "commander";
import { withExamples } from "../help.js";
import type { Session } from "../session.js";
import { addCheckCommand } from "./check.js";
import { addConformCommand } from "./conform.js";
import { addDecodeTraceCommand } from "./decode.js";
import { addHeatmapCommand } from "./heatmap.js";
import { addPageCommand } from "./page.js";
import { addSummaryCommand } from "./summary.js";

/** `kvm-age trace …`: what traces of a kernel's KVM tell. */
export function addTraceCommand(program: Command, session: Session): void {
  const trace = program.command("trace").description("read traces of KVM's events (ftrace, trace-cmd, perf)");
  withExamples(trace, [
    ["kvm-age trace summary trace.txt.gz", "what aging, faults and invalidations there were"],
    ["kvm-age trace page trace.txt.gz gfn:40003", "the life of one guest page"],
    ["kvm-age trace heatmap trace.txt.gz", "which guest memory was found young, and when"],
    ["kvm-age trace decode trace.txt.gz", "the trace with every SPTE in words"],
    ["kvm-age trace check trace.txt.gz", "whether every SPTE transition is one that the kernel makes"],
    ["kvm-age trace conform trace.txt.gz", "whether the packages do what that kernel did"],
  ]);
  addSummaryCommand(trace, session);
  addPageCommand(trace, session);
  addHeatmapCommand(trace, session);
  addDecodeTraceCommand(trace, session);
  addCheckCommand(trace, session);
  addConformCommand(trace, session);
}
