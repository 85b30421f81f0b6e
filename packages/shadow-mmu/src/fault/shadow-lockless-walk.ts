import { type Cpu, NULL_ADDRESS, OUTSIDE_GUEST_MODE, READING_SHADOW_PAGE_TABLES } from "@kvm-age/machine";
import type { KvmPageFault, LastSpte, LocklessWalk } from "@kvm-age/page-fault";
import { PG_LEVEL_4K, type PgLevel, type Spte } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteGetLockless } from "../spte/mmu-spte-get-lockless.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { ShadowWalkIterator } from "../walk/shadow-walk-iterator.js";

/**
 * `walk_shadow_page_lockless_begin`: from here to the end no table that can be reached is freed. Interrupts are off, so that whoever
 * frees tables, and has sent its waiting interrupt to every vCPU that is not outside, does not get an answer before the end.
 *
 * The barrier pairs with the one between a zap's stores and its reads of the modes: either the zap sees the announcement and waits, or
 * the walk sees that the tables are unlinked.
 */
export function walkShadowPageLocklessBegin(cpu: Cpu, vcpu: ShadowMmuVcpu): void {
  cpu.preemptDisable();
  cpu.writeOnce32(vcpu.modeWord, READING_SHADOW_PAGE_TABLES);
  cpu.smpMb();
}

/** `walk_shadow_page_lockless_end`. The release keeps every read of the walk before the store that lets a zap go on and free. */
export function walkShadowPageLocklessEnd(cpu: Cpu, vcpu: ShadowMmuVcpu): void {
  cpu.storeRelease32(vcpu.modeWord, OUTSIDE_GUEST_MODE);
  cpu.preemptEnable();
}

/** One vCPU's lockless walk of its current root, for one operation. */
export class ShadowLocklessWalk implements LocklessWalk {
  /** What the last call of `lastSpte` found. */
  found: LastSpte;

  constructor(
    private readonly mmu: ShadowMmu,
    private readonly vcpu: ShadowMmuVcpu,
  ) {
    this.found = this.nothing();
  }

  begin(cpu: Cpu): void {
    walkShadowPageLocklessBegin(cpu, this.vcpu);
  }

  lastSpte(cpu: Cpu, fault: KvmPageFault): LastSpte {
    this.found = this.nothing();
    const context = this.vcpu.current(cpu);
    const iterator = new ShadowWalkIterator(this.mmu, fault.addr);
    iterator.start(cpu, context, context.rootHpa(cpu));
    while (iterator.okay()) {
      const { sptep, level } = iterator;
      const oldSpte = mmuSpteGetLockless(cpu, sptep);
      this.found = { sptep, oldSpte, level };
      this.visit(oldSpte, level);
      iterator.next(oldSpte);
    }
    return this.found;
  }

  /** Called for each entry on the path, from the root down. */
  protected visit(_spte: Spte, _level: PgLevel): void {}

  end(cpu: Cpu): void {
    walkShadowPageLocklessEnd(cpu, this.vcpu);
  }

  private nothing(): LastSpte {
    return { sptep: NULL_ADDRESS, oldSpte: this.mmu.format.frozenSpte, level: PG_LEVEL_4K };
  }
}
