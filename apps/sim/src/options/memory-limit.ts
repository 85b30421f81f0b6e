import { InvalidArgumentError } from "commander";
import { z } from "zod";
import { UsageError } from "./errors.js";
import { parseSize } from "./parse-size.js";

/** How much guest memory may be resident: bytes, or percent of the trace's footprint. */
export const memoryLimitSchema = z.discriminatedUnion("unit", [
  z.strictObject({ unit: z.literal("bytes"), value: z.int().min(4096) }),
  z.strictObject({ unit: z.literal("percent"), value: z.number().gt(0).max(100) }),
]);
export type MemoryLimit = z.infer<typeof memoryLimitSchema>;

const PERCENT = /^([0-9]+(?:\.[0-9]+)?)%$/;
const PAGE_BYTES = 4096;

/**
 * Reads a limit such as `16M` or `75%`, as a parser for commander.
 * @throws InvalidArgumentError (of commander) unless it is a size of at least 4K or in 0% (excluded) to 100%
 */
export function memoryLimitOption(text: string): MemoryLimit {
  const percent = PERCENT.exec(text)?.[1];
  try {
    const limit: MemoryLimit =
      percent === undefined
        ? { unit: "bytes", value: parseSize(text) }
        : { unit: "percent", value: Number(percent) };
    if (memoryLimitSchema.safeParse(limit).success) return limit;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
  }
  throw new InvalidArgumentError("Allowed: a size of at least 4K, e.g. 16M, or more than 0% up to 100%.");
}

/** The limit in whole 4 KiB pages, at least one, for a trace that touches `footprintPages` pages. */
export function memoryLimitPages(limit: MemoryLimit, footprintPages: number): number {
  const pages = limit.unit === "bytes" ? limit.value / PAGE_BYTES : (footprintPages * limit.value) / 100;
  return Math.max(1, Math.floor(pages));
}
