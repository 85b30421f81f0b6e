import { type Address, type Cpu, FRAME_BYTES, offset, type ThreadMachine } from "@kvm-age/machine";
import type { UserCmpxchgResult } from "@kvm-age/shadow-mmu";
import type { Pfn } from "@kvm-age/spte";

/** Where the VMM has slot 0; outside of what its host's `mmap` gives out. */
export const CODE_HVA = 0x560000000000;
export const CODE_PAGES = 512;

/**
 * The VMM's memory behind slot 0, with bytes: the guest's page tables lie here. It is anonymous memory like the rest, but nobody ages or
 * unmaps it, so pages that are there stay. A page is there once somebody has touched it.
 */
export class CodeMemory {
  private readonly base: Address;
  private readonly present = new Set<number>();

  constructor(
    private readonly cpu: Cpu,
    machine: ThreadMachine,
  ) {
    this.base = machine.frames.allocateSpan(cpu, CODE_PAGES * FRAME_BYTES);
  }

  contains(hva: number): boolean {
    return hva >= CODE_HVA && hva < CODE_HVA + CODE_PAGES * FRAME_BYTES;
  }

  /** The page at `hva`, touched. */
  fault(hva: number): Pfn {
    this.present.add(pageOf(hva));
    return this.pfnOf(hva);
  }

  /** The page at `hva` if it is there. */
  lookup(hva: number): Pfn | null {
    return this.present.has(pageOf(hva)) ? this.pfnOf(hva) : null;
  }

  load(hva: number): bigint {
    this.fault(hva);
    return this.cpu.readOnce(this.wordOf(hva));
  }

  store(hva: number, value: bigint): void {
    this.fault(hva);
    this.cpu.writeOnce(this.wordOf(hva), value);
  }

  cmpxchg(hva: number, expected: bigint, replacement: bigint): UserCmpxchgResult {
    this.fault(hva);
    return this.cpu.cmpxchg(this.wordOf(hva), expected, replacement, "full") === expected
      ? "done"
      : "changed";
  }

  private wordOf(hva: number): Address {
    return offset(this.base, hva - CODE_HVA);
  }

  private pfnOf(hva: number): Pfn {
    return (this.base / FRAME_BYTES + pageOf(hva)) as Pfn;
  }
}

function pageOf(hva: number): number {
  return Math.floor((hva - CODE_HVA) / FRAME_BYTES);
}
