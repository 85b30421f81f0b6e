import type { TraceRecord } from "../schema/trace-record.js";
import { TraceIdentifier } from "./trace-identifier.js";
import type { TraceIdentity, TraceIdentityOverrides } from "./trace-identity.js";

/**
 * Finds out which kernel and MMU wrote the records.
 * @throws UnsupportedSpteFormatOptionError if the user says that a mode other than EPT has no A/D bits
 */
export function identifyTrace(
  records: Iterable<TraceRecord>,
  overrides: TraceIdentityOverrides = {},
): TraceIdentity {
  const identifier = new TraceIdentifier(overrides);
  for (const record of records) identifier.observe(record);
  return identifier.identity();
}
