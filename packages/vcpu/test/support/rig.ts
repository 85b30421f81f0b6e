import type { ThreadCpu } from "@kvm-age/machine";
import { type Address, flushDomainBytes, NULL_ADDRESS, ThreadMachine } from "@kvm-age/machine";
import {
  createVcpu,
  type PageFaultResult,
  type Vcpu,
  type VcpuCollaborators,
  type VcpuInit,
  type VcpuMmu,
} from "../../src/index.js";

/** Non-leaf and leaf bits that allow everything, per format; A and D clear. */
export const TABLE_BITS = { ept: 0x7n, npt: 0x7n, shadow: 0x7n };
export const LEAF_BITS = { ept: 0x37n, npt: 0x7n, shadow: 0x7n };
export const ACCESSED = { ept: 0x100n, npt: 0x20n, shadow: 0x20n };
export const DIRTY = { ept: 0x200n, npt: 0x40n, shadow: 0x40n };
/** All that a PDPTE of PAE paging may have besides its address. */
const PDPTE_BITS = 0x1n;
const PAGE_SIZE = 0x80n;
const ADDRESS = 0xffffffffff000n;

export type Format = "ept" | "npt";
export type TableFormat = Format | "shadow";

/** Page tables filled by hand, and an MMU that answers from a script. */
export class Rig<F extends TableFormat = Format> implements VcpuMmu {
  readonly machine: ThreadMachine = ThreadMachine.create({ arenaBytes: 32 << 20 });
  readonly cpu: ThreadCpu = this.machine.attach();
  readonly flushDomain = {
    address: this.machine.frames.allocateSpan(this.cpu, flushDomainBytes(8)),
    maxMembers: 8,
  };
  readonly tableBits: bigint;
  root: Address;
  loads = 0;
  readonly faults: { gpa: number; errorCode: bigint }[] = [];
  readonly requests: number[] = [];
  onFault: (gpa: number, errorCode: bigint) => PageFaultResult = () => "emulate";
  onLoad: () => void = () => {};
  onRequests: () => void = () => {};

  constructor(
    readonly format: F,
    readonly rootLevel: 3 | 4 | 5 = 4,
  ) {
    this.tableBits = TABLE_BITS[format];
    this.root = this.newTable();
  }

  vcpu(init: Partial<VcpuInit> = {}, collaborators: Partial<VcpuCollaborators> = {}): Vcpu {
    const { flushDomain, format, rootLevel } = this;
    const levels = rootLevel === 5 ? 5 : 4;
    const whole: VcpuInit = { flushDomain, pageFormat: format, adEnabled: true, rootLevel: levels, ...init };
    return createVcpu(this.cpu, this.machine, whole, { mmu: this, ...collaborators });
  }

  newTable(): Address {
    return this.machine.frames.allocateFrame(this.cpu, 0x8000_0000_0000_0000n);
  }

  /** Address of the entry of `level` on the path of `gfn`; makes the tables above it. */
  entry(gfn: number, level: number): Address {
    let table = this.root;
    for (let above = this.rootLevel; ; above--) {
      const index = Math.floor(gfn / 512 ** (above - 1)) % 512;
      const address = (table + index * 8) as Address;
      if (above === level) return address;
      const present = (this.cpu.readOnce(address) & 7n) !== 0n;
      const bits = this.rootLevel === 3 && above === 3 ? PDPTE_BITS : this.tableBits;
      if (!present) this.cpu.writeOnce(address, BigInt(this.newTable()) | bits);
      table = Number(this.cpu.readOnce(address) & ADDRESS) as Address;
    }
  }

  /** Maps `gfn` with a leaf of `level` to `pfn` (of the leaf's first frame). */
  map(gfn: number, pfn: number, level = 1, bits: bigint = LEAF_BITS[this.format]): Address {
    const address = this.entry(gfn, level);
    const size = level > 1 ? PAGE_SIZE : 0n;
    this.cpu.writeOnce(address, (BigInt(pfn) << 12n) | bits | size);
    return address;
  }

  rootHpa(): Address {
    return this.root;
  }

  load(): void {
    this.loads++;
    this.onLoad();
  }

  handlePageFault(_cpu: unknown, gpa: number, errorCode: bigint): PageFaultResult {
    this.faults.push({ gpa, errorCode });
    return this.onFault(gpa, errorCode);
  }

  handleRequests(_cpu: unknown, requests: number): void {
    this.requests.push(requests);
    this.onRequests();
  }

  unloadRoot(): void {
    this.root = NULL_ADDRESS;
  }
}

export const FORMATS: readonly Format[] = ["ept", "npt"];
export const gpaOf = (gfn: number): number => gfn * 4096;
