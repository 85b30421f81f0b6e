import { TRACE_KERNELS, TRACE_MMU_MODES } from "@kvm-age/trace";
import { z } from "zod";
import { count } from "./measures.js";

/** Which kernel and MMU wrote a trace. */
export const traceIdentitySchema = z
  .strictObject({
    kernel: z.enum(TRACE_KERNELS),
    mode: z.enum(TRACE_MMU_MODES),
    adBits: z.boolean().describe("whether the CPU maintains Accessed and Dirty bits"),
    tdpMmu: z.boolean(),
    evidence: z.array(z.string()).describe("what the answers rest on"),
  })
  .meta({ id: "TraceIdentity" });

/** What reading a trace met, beside its records. */
export const traceReadSchema = z
  .strictObject({
    file: z.string(),
    complete: z.boolean().describe("false if the file ended in the middle or the user interrupted"),
    lines: count,
    records: count,
    lostEvents: count.describe("events that the trace itself says were lost"),
    lostUnknown: count.describe("places where the trace says that it does not know how many were lost"),
    damagedLines: count,
    firstDamaged: z
      .array(z.strictObject({ line: count, text: z.string(), reason: z.string() }))
      .describe("the first 20 lines that could not be read"),
    events: z
      .array(z.strictObject({ name: z.string(), count, kind: z.enum(["kvm", "probe or note", "other"]) }))
      .describe("records by name of event; kvm: events of KVM with a layout here"),
  })
  .meta({ id: "TraceRead" });

/** A number that is shown in hexadecimal. */
export const hexText: z.ZodString = z.string().regex(/^0x[0-9a-f]+$/);
