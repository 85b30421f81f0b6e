import {
  type Address,
  type Cpu,
  FRAME_BYTES,
  FrameState,
  FrameTable,
  offset,
  type ThreadMachine,
} from "@kvm-age/machine";
import { isShadowPresentPte, type Spte, type SpteFormat, spteToPfn, type VolatileRule } from "@kvm-age/spte";
import { ptepWord } from "@kvm-age/tdp-mmu";
import { KVM_AGING_POLICIES, mmuAgingOptions } from "../../aging/aging-policies.js";
import type { VmHandle } from "../../vm/vm.js";
import { formatOf } from "../../vm/vm-config.js";

/** Which MMU a page table belongs to. */
export type TableOwner = "tdp" | "shadow";

/** A frame of 512 entries and its descriptor. */
export interface WatchedTable {
  readonly owner: TableOwner;
  readonly frame: Address;
  readonly descriptor: Address;
}

/** Tells page tables from other memory, by the allocators' own records. Reads through the `Cpu` it is given, which is not watched. */
export class WatchedTables {
  readonly format: SpteFormat;
  private readonly slabs: Readonly<Record<TableOwner, Address | null>>;
  private readonly rules: Readonly<Record<TableOwner, VolatileRule>>;

  constructor(
    private readonly machine: ThreadMachine,
    { config, tdp, shadow }: VmHandle,
  ) {
    const policy = KVM_AGING_POLICIES[config.policy];
    this.format = formatOf(config);
    this.slabs = { tdp: tdp?.headers.address ?? null, shadow: shadow?.headers.address ?? null };
    this.rules = {
      tdp: mmuAgingOptions(policy.tdp).volatileRule,
      shadow: mmuAgingOptions(policy.shadow).volatileRule,
    };
  }

  /** The volatile rule that the owner's plain stores must keep to. */
  volatileRule(owner: TableOwner): VolatileRule {
    return this.rules[owner];
  }

  /** The page table that an address lies in, if any. */
  tableAt(cpu: Cpu, address: number): WatchedTable | null {
    const { frames } = this.machine;
    const frame = FrameTable.frameOf(address as Address);
    if (frame >= frames.totalFrames) return null;
    if (cpu.readOnce32(frames.table.stateWord(frame)) !== FrameState.single) return null;
    const descriptor = frames.readPrivate(cpu, address as Address);
    const slab = descriptor === 0 ? 0 : frames.slabOf(cpu, descriptor);
    const owner = slab === this.slabs.tdp ? "tdp" : slab === this.slabs.shadow ? "shadow" : null;
    return slab === 0 || owner === null ? null : { owner, frame: FrameTable.addressOf(frame), descriptor };
  }

  /** Whether a present entry maps a page: it does not point to a page table. */
  isLeaf(cpu: Cpu, spte: Spte): boolean {
    return this.tableAt(cpu, spteToPfn(this.format, spte) * FRAME_BYTES) === null;
  }

  /** Whether a table of the TDP MMU is part of a tree, so that others reach it; one under construction, or unlinked, is not. */
  isLinked(cpu: Cpu, { frame, descriptor }: WatchedTable): boolean {
    const ptep = cpu.readOnce32(ptepWord(descriptor as never)) as Address;
    if (ptep === 0) return true;
    const parent = cpu.readOnce(offset(ptep, 0)) as Spte;
    return isShadowPresentPte(parent) && spteToPfn(this.format, parent) * FRAME_BYTES === frame;
  }
}
