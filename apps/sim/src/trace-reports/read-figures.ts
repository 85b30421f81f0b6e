import { KVM_EVENT_SHAPES, type TraceIdentity } from "@kvm-age/trace";
import type { z } from "zod";
import type { traceIdentitySchema, traceReadSchema } from "../results/trace-read.js";
import type { KernelTrace } from "./open-kernel-trace.js";

type ReadFigures = z.infer<typeof traceReadSchema>;

/** Kernel and MMU of a trace, as results carry them. */
export function identityFigures(identity: TraceIdentity): z.infer<typeof traceIdentitySchema> {
  const { kernel, mode, adBits, tdpMmu, evidence } = identity;
  return { kernel, mode, adBits, tdpMmu, evidence: [...evidence] };
}

/** What reading met, as results carry it. */
export function readFigures(file: string, trace: KernelTrace, interrupted: boolean): ReadFigures {
  const { lines, records, lost, damaged, events, unknownEvents } = trace.report();
  const kind = (name: string): ReadFigures["events"][number]["kind"] => {
    if (Object.hasOwn(KVM_EVENT_SHAPES, name)) return "kvm";
    return unknownEvents.has(name) ? "other" : "probe or note";
  };
  return {
    file,
    complete: trace.truncated() === null && !interrupted,
    lines,
    records,
    lostEvents: lost.events,
    lostUnknown: lost.unknown,
    damagedLines: damaged.count,
    firstDamaged: damaged.first.map(({ line, text, reason }) => ({ line, text, reason })),
    events: [...events]
      .sort(([, a], [, b]) => b - a)
      .map(([name, count]) => ({ name, count, kind: kind(name) })),
  };
}
