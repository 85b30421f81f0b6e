import type { Actor } from "./actor.js";
import { ageEvery } from "./programs/age-every.js";
import { agingPasses } from "./programs/aging-passes.js";
import { markIdle } from "./programs/mark-idle.js";
import { protect } from "./programs/mmu-stress/protect.js";
import { removeSlots } from "./programs/mmu-stress/remove-slots.js";
import { stressReadOnly } from "./programs/mmu-stress/stress-read-only.js";
import { stressReset } from "./programs/mmu-stress/stress-reset.js";
import { stressWritable } from "./programs/mmu-stress/stress-writable.js";
import { ageNested } from "./programs/nested/age-nested.js";
import { nestedPopulate } from "./programs/nested/nested-populate.js";
import { nestedRounds } from "./programs/nested/nested-rounds.js";
import { reclaimEvery } from "./programs/reclaim-every.js";
import { replayTrace } from "./programs/replay-trace.js";
import { tortureAger } from "./programs/torture/torture-ager.js";
import { tortureLogger } from "./programs/torture/torture-logger.js";
import { tortureMover } from "./programs/torture/torture-mover.js";
import { tortureReclaimer } from "./programs/torture/torture-reclaimer.js";
import { TortureVcpu } from "./programs/torture/torture-vcpu.js";
import { touch } from "./programs/touch.js";
import type { Program, ProgramReport } from "./protocol.js";

/** Does what a program says; returns its report. */
export function runProgram(actor: Actor, step: number, program: Program): ProgramReport {
  switch (program.type) {
    case "touch":
      return touch(actor, program);
    case "mark-idle":
      return markIdle(actor, program);
    case "aging-passes":
      return agingPasses(actor, step, program.share, program.shares);
    case "replay":
      return replayTrace(actor, program.trace, program.firstPage, program.repeat);
    case "age-every":
      return ageEvery(actor, step, program.ms);
    case "reclaim-every":
      return reclaimEvery(actor, step, program.ms);
    case "stress-reset":
      return stressReset(actor, program.page);
    case "stress-read-only":
      return stressReadOnly(actor, program);
    case "stress-writable":
      return stressWritable(actor, program);
    case "protect":
      return protect(actor, program.writable, program.signals);
    case "remove-slots":
      return removeSlots(actor);
    case "nested-populate":
      return nestedPopulate(actor, program.sets);
    case "nested-rounds":
      return nestedRounds(actor, program);
    case "age-nested":
      return ageNested(actor, step, program.sets, program.once);
    case "torture-vcpu":
      return new TortureVcpu(actor, program).run();
    case "torture-ager":
      return tortureAger(actor, step, program.seed);
    case "torture-reclaimer":
      return tortureReclaimer(actor, step, program.seed);
    case "torture-mover":
      return tortureMover(actor, step, program.seed);
    case "torture-logger":
      return tortureLogger(actor, step, program.seed, program.versions);
  }
}
