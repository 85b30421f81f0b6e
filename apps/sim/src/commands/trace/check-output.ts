import { open, realpath, stat } from "node:fs/promises";
import { JsonFileError } from "../../terminal/errors.js";
import { DrawingFileError } from "../../trace-reports/errors.js";
import { checkJsonTarget, type JsonTarget } from "../report.js";

/**
 * Checks that a result can be written, and keeps `--json` from taking the trace behind it for the file to write.
 * @throws JsonFileError if the file cannot be written, or holds something else than JSON
 */
export async function checkJsonOutput(json: JsonTarget | undefined): Promise<void> {
  await checkJsonTarget(json);
  if (typeof json !== "string") return;
  const existing = await stat(json).catch(() => null);
  if (existing === null || !existing.isFile() || existing.size === 0) return;
  const handle = await open(json, "r");
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, 0).finally(() => handle.close());
  if (buffer.toString("latin1") === "{") return;
  throw new JsonFileError(
    json,
    "it holds something else than JSON; is it a trace? --json goes behind the traces, or as --json=FILE",
  );
}

/**
 * Keeps a drawing from being written over the trace that it is of.
 * @throws DrawingFileError if both are one file
 */
export async function checkDrawingOutput(trace: string, drawing: string | undefined): Promise<void> {
  if (drawing === undefined || trace === "-") return;
  const [input, output] = await Promise.all([trace, drawing].map((path) => realpath(path).catch(() => null)));
  if (input !== null && input === output) throw new DrawingFileError(drawing, "it is the trace itself");
}
