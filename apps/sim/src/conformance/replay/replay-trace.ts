import { LONG_MODE } from "@kvm-age/shadow-mmu";
import { identifyTrace, type TraceRecord } from "@kvm-age/trace";
import { agevmGuestTables } from "../input/agevm-guest-tables.js";
import { findAgevmStart } from "../input/agevm-start.js";
import { inferSlots } from "../input/infer-slots.js";
import { eventsOf, type Operation } from "../input/operation.js";
import { splitOperations } from "../input/split-operations.js";
import { Upcoming } from "../input/upcoming.js";
import type { ConformanceReport } from "../report/conformance-report.js";
import { replayAging, replayTestAge } from "./replay-aging.js";
import { replayBracket } from "./replay-bracket.js";
import { ReplayContext } from "./replay-context.js";
import { replayFault } from "./replay-fault.js";
import { replayNote } from "./replay-notes.js";
import { replayUnmap } from "./replay-unmap.js";
import { replayUnprompted } from "./replay-unprompted.js";

/** Replays the inputs of a trace on the packages, and compares the outputs. */
export function replayTrace(records: readonly TraceRecord[]): ConformanceReport {
  const identity = identifyTrace(records);
  const start = findAgevmStart(records);
  const guestRoot = findGuestRoot(records);
  const context = new ReplayContext(
    identity,
    {
      format: identity.format,
      tdpMmu: identity.tdpMmu,
      proveMmu: true,
      policy: identity.kernel === "linux-6.12" ? "locked" : "lockless",
      paging: { registers: { ...LONG_MODE, cr3: guestRoot } },
    },
    start,
    new Upcoming(records),
    guestRoot,
  );
  if (start !== null) {
    context.slots.add({ slot: 0, gfn: 0, hva: 0x100000000000, pages: 512 });
    context.slots.add({ slot: 1, gfn: start.gfnBase, hva: start.hva, pages: start.pages });
    for (const [gpa, value] of agevmGuestTables(start))
      context.vm.host.learnWord(0x100000000000 + gpa, value);
  } else for (const slot of inferSlots(records)) context.slots.add(slot);
  for (const slot of context.slots.all()) context.vm.setSlot(slot);
  context.takeOutputs();
  for (const operation of splitOperations(records)) {
    context.line = operation.line;
    replayOperation(context, operation);
    context.vm.cpu.rcuBarrier();
  }
  return context.report;
}

/** The root of the guest's page tables, from the first page that shadows it; 0 if none does. */
function findGuestRoot(records: readonly TraceRecord[]): number {
  for (const record of records) {
    if (record.kind !== "kvm" || record.name !== "kvm_mmu_get_page") continue;
    if (record.fields.level === 4 && !record.fields.direct) return record.fields.gfn * 4096;
  }
  return 0;
}

function replayOperation(context: ReplayContext, operation: Operation): void {
  switch (operation.kind) {
    case "note":
      if (operation.note !== null) replayNote(context, operation.pid, operation.note, operation.line);
      break;
    case "bracket":
      replayBracket(context, operation);
      break;
    case "fault":
      replayFault(context, operation);
      break;
    case "age":
      replayAging(context, operation);
      break;
    case "test-age":
      replayTestAge(context, operation);
      break;
    case "unmap":
      replayUnmap(context, operation);
      break;
    case "unprompted":
      replayUnprompted(context, operation.pid, eventsOf(operation));
      break;
  }
}
