import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

const ROOT = new URL("../../fixtures/kernel-traces/", import.meta.url);

/** A recorded trace of a real kernel. */
export interface KernelTraceFile {
  /** Folder, which says what the kernel and MMU were, e.g. `linux-7.3-ept-ad`. */
  readonly folder: string;
  /** Folder and scenario, e.g. `linux-7.3-ept-ad/age4k`. */
  readonly name: string;
  readonly path: string;
}

function tracesIn(folder: string): KernelTraceFile[] {
  const files = readdirSync(new URL(`${folder}/`, ROOT)).filter((file) => file.endsWith(".trace.gz"));
  return files.map((file) => ({
    folder,
    name: `${folder}/${file.replace(".trace.gz", "")}`,
    path: fileURLToPath(new URL(`${folder}/${file}`, ROOT)),
  }));
}

/** All of them. */
export const KERNEL_TRACES: readonly KernelTraceFile[] = readdirSync(ROOT).flatMap(tracesIn);

/** One of them, by name. */
export function kernelTrace(name: string): KernelTraceFile {
  const found = KERNEL_TRACES.find((trace) => trace.name === name);
  if (found === undefined) throw new Error(`there is no trace ${name}`);
  return found;
}

/** The text of a trace. */
export function textOf({ path }: KernelTraceFile): string {
  return gunzipSync(readFileSync(path)).toString();
}

/** How often a pattern occurs in a text. */
export function countMatches(text: string, pattern: RegExp): number {
  return [...text.matchAll(new RegExp(pattern, `${pattern.flags.replace("g", "")}g`))].length;
}
