import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { parseTraceText, type TraceRecord } from "@kvm-age/trace";

const TRACES = new URL("../../fixtures/kernel-traces/", import.meta.url);

/** All traces of the fixtures, as `mode/scenario`. */
export const KERNEL_TRACES: readonly string[] = readdirSync(TRACES).flatMap((mode) =>
  readdirSync(new URL(`${mode}/`, TRACES))
    .filter((name) => name.endsWith(".trace.gz"))
    .map((name) => `${mode}/${name.replace(".trace.gz", "")}`),
);

/** The text of a trace. */
export function kernelTraceText(name: string): string {
  return gunzipSync(readFileSync(new URL(`${name}.trace.gz`, TRACES))).toString("latin1");
}

/** The records of a text, all of whose lines are readable. */
export function recordsOf(text: string): readonly TraceRecord[] {
  return parseTraceText(text, { strict: true }).records;
}
