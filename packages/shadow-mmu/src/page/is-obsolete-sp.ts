import type { Cpu } from "@kvm-age/machine";
import { roleInvalid } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import { type KvmMmuPage, mmuValidGenWord, spRole } from "./kvm-mmu-page.js";

/**
 * `is_obsolete_sp`: the page was zapped but is still a root, or is of the generation that a fast zap ended. No vCPU may
 * load it, no lookup may return it. Exact under `mmu_lock`; without it, what became obsolete meanwhile is announced by a
 * request.
 */
export function isObsoleteSp(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): boolean {
  if (roleInvalid(mmu.format.rules, spRole(cpu, sp))) return true;
  return cpu.readOnce32(mmuValidGenWord(sp)) !== cpu.readOnce32(mmu.mmuValidGenWord);
}
