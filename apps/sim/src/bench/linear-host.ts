import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { Hva, HvaToPfnResult } from "@kvm-age/memslot";
import type { ShadowMmuHost, UserCmpxchgResult } from "@kvm-age/shadow-mmu";
import type { Pfn, PgLevel } from "@kvm-age/spte";

/** Where the guest's memory begins; its pages have no bytes. */
export const LINEAR_HVA = 0x7f0000000000 as Hva;
/** Where memory with bytes begins, for the guest's page tables. */
export const TABLES_HVA = 0x7e0000000000 as Hva;
const FIRST_PFN = 0x40000000;
const PAGE_BYTES = 4096;

/** A host whose page tables are a formula, so that a measurement holds KVM's work alone. */
export class LinearHost implements ShadowMmuHost {
  /** Level of the host's mappings of pages without bytes. */
  level: PgLevel = 1;
  /** Whether the neighbours of a faulting page are at hand, so that shadow faults map them as well. */
  prefetchable = false;

  /** @param tables frames in a row behind `TABLES_HVA`; none are looked for if the guest has no memory there */
  constructor(private readonly tables: Address) {}

  hvaToPfn(_cpu: Cpu, hva: Hva): HvaToPfnResult {
    return { error: null, pfn: this.pfnOf(hva), mapWritable: true };
  }

  hostPfnMappingLevel(_cpu: Cpu, hva: Hva): PgLevel {
    return hva < LINEAR_HVA ? 1 : this.level;
  }

  releasePage(): void {}

  getUserPageFastOnly(_cpu: Cpu, hva: Hva): Pfn | null {
    return this.prefetchable ? this.pfnOf(hva) : null;
  }

  loadUser(cpu: Cpu, hva: Hva): bigint {
    return cpu.readOnce(this.wordOf(hva));
  }

  storeUser(cpu: Cpu, hva: Hva, _size: 8, value: bigint): boolean {
    cpu.writeOnce(this.wordOf(hva), value);
    return true;
  }

  cmpxchgUser(cpu: Cpu, hva: Hva, _size: 8, expected: bigint, replacement: bigint): UserCmpxchgResult {
    const found = cpu.cmpxchg(this.wordOf(hva), expected, replacement, "full");
    return found === expected ? "done" : "changed";
  }

  private pfnOf(hva: Hva): Pfn {
    if (hva < LINEAR_HVA) return (this.wordOf(hva) / PAGE_BYTES) as Pfn;
    return ((hva - LINEAR_HVA) / PAGE_BYTES + FIRST_PFN) as Pfn;
  }

  private wordOf(hva: Hva): Address {
    return offset(this.tables, hva - TABLES_HVA);
  }
}
