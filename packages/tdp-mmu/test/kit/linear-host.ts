import type { Cpu } from "@kvm-age/machine";
import type { Hva, HvaToPfnResult, PrimaryMmu, ReleaseHow } from "@kvm-age/memslot";
import type { Pfn, PgLevel } from "@kvm-age/spte";

/** A host whose page tables are a formula: pfn = hva / 4096 - base. Counts what it is told about its pages. */
export class LinearHost implements PrimaryMmu {
  level: PgLevel = 1;
  writable = true;
  readonly released: Record<ReleaseHow, number> = { unused: 0, clean: 0, dirty: 0 };
  /** Runs inside the lookup, where the real one may sleep: a test's chance to interfere. */
  onLookup: (cpu: Cpu, hva: Hva) => void = () => {};

  hvaToPfn(cpu: Cpu, hva: Hva): HvaToPfnResult {
    this.onLookup(cpu, hva);
    return { error: null, pfn: LinearHost.pfnOf(hva), mapWritable: this.writable };
  }

  hostPfnMappingLevel(): PgLevel {
    return this.level;
  }

  releasePage(_cpu: Cpu, _pfn: Pfn, how: ReleaseHow): void {
    this.released[how]++;
  }

  static pfnOf(hva: Hva): Pfn {
    return (hva / 4096 - 0x7f0000000 + 0x200000) as Pfn;
  }
}
