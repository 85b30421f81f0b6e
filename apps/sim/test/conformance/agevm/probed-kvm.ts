import type { Cpu } from "@kvm-age/machine";
import type { KvmGfnRange } from "@kvm-age/memslot";
import { Kvm, type KvmParts } from "../../../src/kvm.js";
import type { TraceLog } from "./trace-log.js";

/** `Kvm` with the kprobes of the recordings. Which MMU answered is probed where one is alone. */
export class ProbedKvm extends Kvm {
  private readonly answering: string;

  constructor(
    parts: KvmParts,
    private readonly log: TraceLog,
  ) {
    super(parts);
    this.answering = parts.tdp === null ? "rmap_age" : "tdp_age";
  }

  override ageGfn(cpu: Cpu, range: KvmGfnRange): boolean {
    return this.probed("age_gfn", range, () => {
      const young = super.ageGfn(cpu, range);
      this.log.returned(this.answering, young);
      return young;
    });
  }

  override testAgeGfn(cpu: Cpu, range: KvmGfnRange): boolean {
    return this.probed("test_age_gfn", range, () => super.testAgeGfn(cpu, range));
  }

  override unmapGfnRange(cpu: Cpu, range: KvmGfnRange): boolean {
    return this.probed("unmap_gfn", range, () => super.unmapGfnRange(cpu, range));
  }

  private probed(name: string, { start, end }: KvmGfnRange, work: () => boolean): boolean {
    this.log.probe(name, { start: BigInt(start), end: BigInt(end) });
    const answer = work();
    this.log.returned(name, answer);
    return answer;
  }
}
