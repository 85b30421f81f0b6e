import type { AccessKind } from "@kvm-age/vcpu";
import { withPageModificationLog } from "../model/page-modification-log.js";
import { UnexpectedFaultError } from "../model/unexpected-fault-error.js";
import type { GuestWindow } from "./guest-window.js";
import type { ReplayContext } from "./replay-context.js";

const PAGE_BYTES = 4096;

/** What the guest does with its memory between faults, as far as notes tell it, and where they leave it open. */
export class GuestAccesses {
  /** What each task's vCPU is doing. */
  private readonly windows = new Map<number, GuestWindow>();
  private racing = false;
  private readonly sinceRace = new Set<number>();

  constructor(
    private readonly context: ReplayContext,
    /** Whether the processor logs the pages that it makes dirty (PML). */
    private readonly logsWrites: boolean,
  ) {}

  /** A note announces what a task's vCPU is about to do. */
  begin(pid: number, window: GuestWindow): void {
    this.windows.set(pid, window);
  }

  /** The vCPU of which a task's notes speak, null if they do not. */
  vcpuOf(pid: number): number | null {
    return this.windows.get(pid)?.vcpu ?? null;
  }

  /** Accesses that are over when a task's guest faults at a page. */
  finishBefore(pid: number, gfn: number): void {
    const window = this.windows.get(pid);
    if (window !== undefined) this.access(window, window.completedBefore(gfn));
  }

  /** The guest is done with what its notes announced. */
  finish(pid: number): void {
    const window = this.windows.get(pid);
    this.windows.delete(pid);
    if (window !== undefined) this.access(window, window.rest());
  }

  /** Whether nobody wrote down when the guest uses a page. */
  areUnknown(gfn: number): boolean {
    const { start } = this.context;
    return this.racing || start === null || gfn < start.gfnBase || this.sinceRace.has(gfn);
  }

  get isRacing(): boolean {
    return this.racing;
  }

  /** Several vCPUs run while the VMM does something else: what they do to the test memory is not written down. */
  raceBegins(): void {
    this.racing = true;
  }

  /** From now on a page's state is known again once it has been seen. */
  raceEnds(): void {
    const { gfnBase, pages } = this.context.start!;
    this.racing = false;
    for (let page = 0; page < pages; page++) this.sinceRace.add(gfnBase + page);
  }

  /** A page's state was seen. */
  seen(gfn: number): void {
    this.sinceRace.delete(gfn);
  }

  private access(window: GuestWindow, gfns: readonly number[]): void {
    for (const gfn of gfns) this.accessPage(window, gfn);
    const { context } = this;
    for (const event of context.takeOutputs()) context.extra(event, context.line);
  }

  private accessPage({ vcpu, kind }: GuestWindow, gfn: number): void {
    const { cpu, memslots } = this.context.vm;
    const access = (): void => this.tryAccess(vcpu, kind, gfn);
    if (!this.logsWrites) access();
    else withPageModificationLog(memslots, cpu, gfn, () => this.isDirty(vcpu, gfn), access);
  }

  private tryAccess(vcpu: number, kind: AccessKind, gfn: number): void {
    const { context } = this;
    try {
      context.vm.vcpu(vcpu).access(context.vm.cpu, gfn * PAGE_BYTES, kind);
    } catch (error) {
      if (!(error instanceof UnexpectedFaultError)) throw error;
      const what = `the guest's ${kind} of page ${gfn.toString(16)}`;
      context.mismatch("answer", context.line, what, "no fault", error.message);
    }
  }

  private isDirty(vcpu: number, gfn: number): boolean {
    const { tables, identity } = this.context;
    const leaf = tables.path(this.context.root(vcpu), gfn).at(-1);
    return leaf?.last === true && (leaf.spte & identity.format.shadowDirtyMask) !== 0n;
  }
}
