import { z } from "zod";

/** Name and version of the format; changes whenever a field comes, goes away or changes its meaning. */
export const DECODE_SCHEMA_ID = "kvm-age/decode@1";

const fieldSchema = z.strictObject({
  bits: z.string().describe("bit positions, e.g. 51:12"),
  name: z.string(),
  value: z.string().describe("hexadecimal, shifted down to bit 0"),
  meaning: z.string(),
});

const readingSchema = z.strictObject({
  readAs: z.string().describe("MMU modes and rule set under which this is the meaning"),
  kind: z.enum(["leaf", "non-leaf", "mmio", "frozen", "non-present", "pdpte"]),
  level: z.int().min(1).max(5).nullable(),
  fields: z.array(fieldSchema),
  states: z.array(z.string()),
});

/** What `kvm-age decode --json` prints. */
export const decodeResultSchema = z.strictObject({
  schema: z.literal(DECODE_SCHEMA_ID),
  sptes: z.array(
    z.strictObject({
      spte: z.string().describe("0x and 16 hexadecimal digits"),
      readings: z.array(readingSchema),
      note: z.string().nullable(),
    }),
  ),
});
export type DecodeResult = z.infer<typeof decodeResultSchema>;
