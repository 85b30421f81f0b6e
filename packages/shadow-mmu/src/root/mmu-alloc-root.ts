import type { Cpu } from "@kvm-age/machine";
import { type Gfn, type PgLevel, withRoleLevel } from "@kvm-age/spte";
import { kvmMmuGetShadowPage } from "../hash/kvm-mmu-get-shadow-page.js";
import { type KvmMmuPage, rootCountWord } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { KvmMmu } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";

/**
 * `mmu_alloc_root`: the page for a root, or for a quarter of one, with a reference. Held: `mmu_lock` for write, and SRCU.
 *
 * @param level of the page: the root's, or 2 for a quarter of a three-level root
 */
export function mmuAllocRoot(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  gfn: Gfn,
  level: PgLevel,
): KvmMmuPage {
  const sp = kvmMmuGetShadowPage(mmu, cpu, vcpu, gfn, withRoleLevel(context.rootRole(cpu), level));
  cpu.writeOnce32(rootCountWord(sp), cpu.readOnce32(rootCountWord(sp)) + 1);
  return sp;
}
