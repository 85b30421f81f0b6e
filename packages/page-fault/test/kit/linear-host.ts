import type { Cpu } from "@kvm-age/machine";
import type { Hva, HvaToPfnResult, PrimaryMmu, ReleaseHow } from "@kvm-age/memslot";
import type { Pfn, PgLevel } from "@kvm-age/spte";

/** Frame of the page at `HOST_BASE`; aligned to 1 GiB. */
export const HOST_PFN = 0x400000 as Pfn;
export const HOST_BASE = 0x7f0000000000 as Hva;

/** A host whose page tables are a formula. Notes how each page comes back. */
export class LinearHost implements PrimaryMmu {
  level: PgLevel = 1;
  writable = true;
  /** Added to every pfn. */
  skew = 0;
  lookups = 0;
  readonly released: [pfn: number, how: ReleaseHow][] = [];
  /** Runs inside the lookup, where the real one may sleep; a result replaces the host's own. */
  onLookup: (cpu: Cpu) => HvaToPfnResult | undefined = () => undefined;

  hvaToPfn(cpu: Cpu, hva: Hva): HvaToPfnResult {
    this.lookups++;
    const pfn = (HOST_PFN + (hva - HOST_BASE) / 4096 + this.skew) as Pfn;
    return this.onLookup(cpu) ?? { error: null, pfn, mapWritable: this.writable };
  }

  hostPfnMappingLevel(): PgLevel {
    return this.level;
  }

  releasePage(_cpu: Cpu, pfn: Pfn, how: ReleaseHow): void {
    this.released.push([pfn, how]);
  }
}
