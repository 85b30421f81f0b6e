import { isAccess } from "../step/access-kinds.js";
import type { Step, StepKind } from "../step/step.js";

/** Questions and waiting: they neither order nor change anything. */
const PASSED_OVER: ReadonlySet<StepKind> = new Set<StepKind>(["relax", "needResched", "rwlockNeedbreak"]);

/**
 * The line of a step in a recording's log; null for what the log passes over: accesses, `relax`, and the questions
 * `needResched` and `rwlockNeedbreak`.
 *
 * Lines are the kernel's names: `write_lock kvm->mmu_lock` and every other lock with its class, `rcu_read_lock`, `call_rcu`,
 * `preempt_disable`, `smp_wmb`, `cond_resched`; `flush`, or `flush 0x400+512` for a range with its first gfn and pages;
 * the name of a trace event.
 */
export function logEntry({ kind, operands }: Step): string | null {
  if (isAccess(kind) || PASSED_OVER.has(kind)) return null;
  if (kind === "trace") return String(operands[0]);
  if (kind === "flushRemoteTlbs") {
    const [startGfn, pages] = operands;
    return pages === undefined ? "flush" : `flush 0x${startGfn!.toString(16)}+${pages}`;
  }
  const name = kind.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return typeof operands[0] === "string" ? `${name} ${operands[0]}` : name;
}
