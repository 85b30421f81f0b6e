import type { TraceIdentity } from "../identify/trace-identity.js";
import type { TraceRecord } from "../schema/trace-record.js";
import { LegalityChecker, type LegalityOptions } from "./legality-checker.js";
import type { LegalityReport } from "./violation.js";

/** Judges all records of a trace by the kernel's rules. */
export function checkTrace(
  records: Iterable<TraceRecord>,
  identity: TraceIdentity,
  options: LegalityOptions = {},
): LegalityReport {
  const checker = new LegalityChecker(identity, options);
  for (const record of records) checker.observe(record);
  return checker.finish();
}
