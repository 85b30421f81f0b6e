import { checkJsonFile, jsonText, writeJsonFile } from "../terminal/json-file.js";
import { ExitCode } from "./exit-code.js";
import type { Session } from "./session.js";

/** Value of `--json [file]`: a file, `true` for standard output, `undefined` for text. */
export type JsonTarget = string | true | undefined;

/** What a command has to tell when its work is done. */
export interface Report {
  /** The result as it goes into JSON. */
  readonly result: unknown;
  /** Why the run did not pass; empty when it did. */
  readonly failedChecks: readonly string[];
  /** The result for people, drawn only when it is shown. */
  readonly text: () => string;
}

/**
 * Checks a JSON target before the work.
 * @throws JsonFileError when the result could not be written there
 */
export async function checkJsonTarget(json: JsonTarget): Promise<void> {
  if (typeof json === "string") await checkJsonFile(json);
}

/** Tells the result: data on standard output or in the file, failed checks on standard error. */
export async function tell(session: Session, report: Report, json: JsonTarget): Promise<void> {
  if (typeof json === "string") await writeJsonFile(json, report.result);
  session.print(json === true ? jsonText(report.result) : `${report.text()}\n`);
  for (const failure of report.failedChecks) session.say(`check failed: ${failure}`);
  if (report.failedChecks.length > 0 && session.exitCode === ExitCode.ok)
    session.exitCode = ExitCode.checkFailed;
}
