import {
  type GuestMemoryRange,
  TRACE_KERNELS,
  TRACE_MMU_MODES,
  type TraceKernel,
  type TraceMmuMode,
} from "@kvm-age/trace";
import { type Command, Option } from "commander";
import type { KernelTraceOptions } from "../../trace-reports/open-kernel-trace.js";
import { slotOption } from "../../trace-reports/slot-option.js";

/** What commander parses of the options that every command about traces has. */
export interface TraceFlags {
  readonly strict?: true;
  readonly kernel?: TraceKernel;
  readonly mode?: TraceMmuMode;
  /** False with `--no-ad`; otherwise the trace tells. */
  readonly ad: boolean;
}

/** What commander parses of `--slot`. */
export interface SlotFlags {
  readonly slot: readonly GuestMemoryRange[];
}

/** The file argument. */
export const FILE_ARGUMENT: readonly [name: string, description: string] = [
  "<file>",
  "text of the kernel's trace file, of trace-cmd report or of perf script, plain or gzip; - for standard input",
];

/** Adds the options that every command about traces has. */
export function addTraceOptions(command: Command): Command {
  return command
    .option("--strict", "stop at the first line that cannot be read")
    .addOption(
      new Option("--kernel <kernel>", "kernel that wrote it (default: by its text)").choices(TRACE_KERNELS),
    )
    .addOption(new Option("--mode <mode>", "MMU mode (default: by its SPTEs)").choices(TRACE_MMU_MODES))
    .option("--no-ad", "EPT of a CPU without Accessed and Dirty bits (default: by its pages)");
}

/** Adds `--slot`. */
export function addSlotOption(command: Command): Command {
  return command.addOption(
    new Option("--slot <gfn:hva:pages>", "where guest memory stands in the host; may be repeated")
      .argParser(slotOption)
      .default([], "learnt from the trace"),
  );
}

/** How the flags want a trace to be read. */
export function kernelTraceOptions({ strict, kernel, mode, ad }: TraceFlags): KernelTraceOptions {
  return {
    strict: strict === true,
    overrides: {
      ...(kernel === undefined ? {} : { kernel }),
      ...(mode === undefined ? {} : { mode }),
      ...(ad ? {} : { adBits: false }),
    },
  };
}
