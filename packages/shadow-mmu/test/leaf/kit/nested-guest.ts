import { expect } from "vitest";
import type { ShadowFaultResult } from "../../../src/fault/shadow-fault-result.js";
import { kvmMmuLoad } from "../../../src/root/kvm-mmu-load.js";
import { kvmInitShadowEptMmu } from "../../../src/vcpu/kvm-init-shadow-ept-mmu.js";
import { kvmInitShadowNptMmu } from "../../../src/vcpu/kvm-init-shadow-npt-mmu.js";
import { HOST_BASE } from "../../guest/kit/byte-host.js";
import { LeafGuest, type LeafGuestInit } from "./leaf-guest.js";

const BACKED_PAGES = 64;
const ROOT_GFN = 1;
const LEVELS = 4;

/** EPT: RWX, write-back, A, D. */
const EPT_TABLE = 0x107n;
const EPT_LEAF = 0x337n;
/** NPT: P, W, U, A, D. */
const NPT_TABLE = 0x27n;
const NPT_LEAF = 0x67n;
const PAGE_SIZE_BIT = 0x80n;

export interface NestedGuestInit extends Omit<LeafGuestInit, "mode" | "tdpMmuEnabled" | "backedPages"> {
  readonly mode?: "ept" | "npt";
}

/**
 * A VM with the TDP MMU, whose guest runs a guest of its own: what this MMU maps are L2's pages, through L1's nested tables, which lie
 * in guest memory with bytes. Pages of the slot are L1's; addresses of faults are L2's.
 */
export class NestedGuest extends LeafGuest {
  private nextTable = ROOT_GFN + 1;

  constructor(init: NestedGuestInit = {}) {
    super({ ...init, tdpMmuEnabled: true, backedPages: BACKED_PAGES });
    const root = ROOT_GFN * 4096;
    this.inSrcu(() => {
      if (this.format.mode === "npt") {
        kvmInitShadowNptMmu(this.mmu, this.cpu, this.vcpu, { nCr3: root, cr0Wp: true, eferNx: true });
      } else {
        const accessedDirty = this.format.kvmAdEnabled ? 1 << 6 : 0;
        const eptp = root | accessedDirty | ((LEVELS - 1) << 3) | 6;
        kvmInitShadowEptMmu(this.mmu, this.cpu, this.vcpu, { eptp });
      }
      expect(kvmMmuLoad(this.mmu, this.cpu, this.vcpu)).toBe(true);
    });
  }

  /** L1 maps L2's page `l2Page` to page `page` of the slot by a leaf of `level`. */
  mapL2(l2Page: number, page: number, level = 1): void {
    let table = ROOT_GFN;
    for (let at = LEVELS; at > level; at--) {
      const slot = this.l1Word(table, l2Page, at);
      if (this.cpu.readOnce(slot) === 0n) {
        this.cpu.writeOnce(slot, (BigInt(this.nextTable++) << 12n) | this.flags(EPT_TABLE, NPT_TABLE));
      }
      table = Number((this.cpu.readOnce(slot) >> 12n) & 0xffffffffffn);
    }
    const size = level > 1 ? PAGE_SIZE_BIT : 0n;
    const leaf = (BigInt(this.gfn(page)) << 12n) | this.flags(EPT_LEAF, NPT_LEAF) | size;
    this.cpu.writeOnce(this.l1Word(table, l2Page, level), leaf);
  }

  /** A fault of L2's on its page. */
  l2Fault(l2Page: number, code: number, cpu = this.cpu): ShadowFaultResult {
    return this.faultWithCode(l2Page - this.slotGfn, code, cpu);
  }

  /** The lowest entry on the path of L2's page. */
  l2Entry(l2Page: number): ReturnType<LeafGuest["entry"]> {
    return this.entry(l2Page - this.slotGfn);
  }

  private flags(ept: bigint, npt: bigint): bigint {
    return this.format.mode === "npt" ? npt : ept;
  }

  private l1Word(tableGfn: number, l2Page: number, level: number) {
    const index = Math.floor(l2Page / 512 ** (level - 1)) % 512;
    const word = this.host.word(HOST_BASE + tableGfn * 4096 + index * 8);
    if (word === null) throw new Error(`table 0x${tableGfn.toString(16)} of L1 has no bytes`);
    return word;
  }
}
