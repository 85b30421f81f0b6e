import { CallSite } from "./call-site.js";
import { describeUse, type HeldLock, isAtomic, type LockUse } from "./held-lock.js";

function sameUse(held: LockUse, use: LockUse): boolean {
  return held.kind === use.kind && held.address === use.address && held.lockClass.name === use.lockClass.name;
}

/** What one processor holds, oldest first, and how often it disabled preemption. */
export class HeldLocks {
  private readonly stack: HeldLock[] = [];
  preemptCount = 0;

  constructor(readonly cpu: number) {}

  get all(): readonly HeldLock[] {
    return this.stack;
  }

  push(use: LockUse): void {
    this.stack.push({ ...use, site: new CallSite() });
  }

  /** The newest hold of the same lock, in whichever mode. */
  find(use: LockUse): HeldLock | undefined {
    return this.stack.findLast((held) => sameUse(held, use));
  }

  remove(held: HeldLock): void {
    this.stack.splice(this.stack.indexOf(held), 1);
  }

  /** Every reason why the processor may not sleep now; none if it may. */
  atomicReasons(): string[] {
    const reasons = this.stack.filter(isAtomic).map((held) => `holds ${describeUse(held)}`);
    if (this.preemptCount > 0) reasons.unshift(`preemption is disabled (${this.preemptCount} deep)`);
    return reasons;
  }

  /** Names with modes, oldest first, as the order graph records them. */
  names(): string[] {
    return this.stack.map((held) => `${held.lockClass.name} (${held.mode})`);
  }

  /** The paragraph of a splat that lists what is held. */
  describe(): string {
    const count = this.stack.length;
    if (count === 0) return `no locks held by cpu ${this.cpu}`;
    const lines = this.stack.map((held, index) => ` #${index}: ${describeUse(held)}, at ${held.site}`);
    return `${count} lock${count === 1 ? "" : "s"} held by cpu ${this.cpu}:\n${lines.join("\n")}`;
  }
}
