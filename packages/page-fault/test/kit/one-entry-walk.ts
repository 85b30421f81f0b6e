import type { Address, Cpu } from "@kvm-age/machine";
import type { PgLevel, Spte, SpteFormat } from "@kvm-age/spte";
import type { KvmPageFault, LastSpte, LocklessWalk } from "../../src/index.js";

/** Page tables of one entry. Writes down what is asked of it. */
export class OneEntryWalk implements LocklessWalk {
  /** `begin`, `look` and `end`, in order. */
  readonly log: string[] = [];
  level: PgLevel = 1;

  /** @param sptep the entry, or 0 for tables without any */
  constructor(
    private readonly format: SpteFormat,
    private readonly sptep: Address,
  ) {}

  begin(): void {
    this.log.push("begin");
  }

  lastSpte(cpu: Cpu, _fault: KvmPageFault): LastSpte {
    this.log.push("look");
    const oldSpte = this.sptep === 0 ? this.format.frozenSpte : (cpu.readOnce(this.sptep) as Spte);
    return { sptep: this.sptep, oldSpte, level: this.level };
  }

  end(): void {
    this.log.push("end");
  }
}
