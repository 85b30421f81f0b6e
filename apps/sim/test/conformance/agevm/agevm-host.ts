import type { HostMm } from "@kvm-age/host-mm";
import { FIRST_HOST_PFN } from "@kvm-age/host-mm";
import type { Cpu } from "@kvm-age/machine";
import type { Hva, HvaToPfnRequest, HvaToPfnResult, ReleaseHow } from "@kvm-age/memslot";
import type { ShadowMmuHost, UserCmpxchgResult } from "@kvm-age/shadow-mmu";
import { type Pfn, PG_LEVEL_4K, type PgLevel } from "@kvm-age/spte";
import type { CodeMemory } from "./code-memory.js";

/** The VMM's address space: a real host's for the test memory, `CodeMemory` for slot 0. */
export class AgevmHost implements ShadowMmuHost {
  /** Done once, after the next lookup of a test page has found it: what another task does while a fault is being handled. */
  meanwhile: (() => void) | null = null;

  constructor(
    private readonly hostMm: HostMm,
    private readonly code: CodeMemory,
  ) {}

  hvaToPfn(cpu: Cpu, hva: Hva, request: HvaToPfnRequest): HvaToPfnResult {
    if (this.code.contains(hva)) return { error: null, pfn: this.code.fault(hva), mapWritable: true };
    const found = this.hostMm.hvaToPfn(cpu, hva, request);
    const { meanwhile } = this;
    this.meanwhile = null;
    meanwhile?.();
    return found;
  }

  hostPfnMappingLevel(cpu: Cpu, hva: Hva): PgLevel {
    return this.code.contains(hva) ? PG_LEVEL_4K : this.hostMm.hostPfnMappingLevel(cpu, hva);
  }

  /** The recorded kernels have MGLRU: marking a page accessed leaves its idle mark alone there, which this host's classic LRU does not. */
  releasePage(cpu: Cpu, pfn: Pfn, _how: ReleaseHow): void {
    if (pfn >= FIRST_HOST_PFN) this.hostMm.releasePage(cpu, pfn, "unused");
  }

  getUserPageFastOnly(cpu: Cpu, hva: Hva): Pfn | null {
    return this.code.contains(hva) ? this.code.lookup(hva) : this.hostMm.getUserPageFastOnly(cpu, hva);
  }

  loadUser(cpu: Cpu, hva: Hva, size: 4 | 8, atomic: boolean): bigint | null {
    return this.code.contains(hva) ? this.code.load(hva) : this.hostMm.loadUser(cpu, hva, size, atomic);
  }

  storeUser(cpu: Cpu, hva: Hva, size: 4 | 8, value: bigint, atomic: boolean): boolean {
    if (!this.code.contains(hva)) return this.hostMm.storeUser(cpu, hva, size, value, atomic);
    this.code.store(hva, value);
    return true;
  }

  cmpxchgUser(cpu: Cpu, hva: Hva, size: 4 | 8, expected: bigint, replacement: bigint): UserCmpxchgResult {
    return this.code.contains(hva)
      ? this.code.cmpxchg(hva, expected, replacement)
      : this.hostMm.cmpxchgUser(cpu, hva, size, expected, replacement);
  }
}
