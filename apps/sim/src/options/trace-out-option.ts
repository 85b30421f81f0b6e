import { type Command, Option } from "commander";
import { integerOption } from "./integer-option.js";

/** What an unsigned 31-bit count can hold. */
const MAX_LIMIT = 0x7fff_ffff;

/** What commander parses of the options that record a run. */
export interface TraceOutFlags {
  readonly traceOut?: string;
  readonly traceLimit?: number;
}

/**
 * Adds `--trace-out <file>` and `--trace-limit <n>`. `--trace` is the same as the first, except where the scenario reads a trace
 * and has the name for that.
 */
export function addTraceOutOptions(command: Command): Command {
  const taken = command.options.some(({ long }) => long === "--trace");
  const flags = taken ? "--trace-out <file>" : "--trace, --trace-out <file>";
  return command
    .addOption(
      new Option(
        flags,
        "record KVM's events as the kernel's trace file shows them; gzip if it ends in .gz (slow)",
      ),
    )
    .addOption(
      new Option(
        "--trace-limit <n>",
        "record so many events and only count the others; default all",
      ).argParser(integerOption(1, MAX_LIMIT)),
    );
}
