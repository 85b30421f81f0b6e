import { type Address, type Cpu, FRAME_BYTES } from "@kvm-age/machine";
import { type Spte, spteToPfn } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { KvmMmuPage } from "./kvm-mmu-page.js";

/** `sptep_to_sp`: the page whose table holds the entry at `sptep`. */
export function sptepToSp(mmu: ShadowMmu, cpu: Cpu, sptep: Address): KvmMmuPage {
  return mmu.frames.readPrivate(cpu, sptep) as KvmMmuPage;
}

/** `spte_to_child_sp`: the page that a present non-leaf entry points to. */
export function spteToChildSp(mmu: ShadowMmu, cpu: Cpu, spte: Spte): KvmMmuPage {
  return sptepToSp(mmu, cpu, (spteToPfn(mmu.format, spte) * FRAME_BYTES) as Address);
}
