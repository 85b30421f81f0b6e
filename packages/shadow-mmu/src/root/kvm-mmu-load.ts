import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { roleDirect } from "@kvm-age/spte";
import { ShadowMmuConfigError } from "../errors.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { kvmMmuSyncRoots } from "../unsync/kvm-mmu-sync-roots.js";
import { MmuKind } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { mmuAllocDirectRoots } from "./mmu-alloc-direct-roots.js";
import { mmuAllocShadowRoots } from "./mmu-alloc-shadow-roots.js";
import { mmuAllocSpecialRoots } from "./mmu-alloc-special-roots.js";

/**
 * `kvm_mmu_reload`: gives the vCPU's current context a root if it has none. The caller flushes the vCPU's TLB before it
 * enters the guest. Held: SRCU; sleeps, and takes `mmu_lock` for write.
 *
 * @returns false if the quota of shadow pages is used up by roots (`-ENOSPC`): the vCPU cannot run
 * @throws ShadowMmuConfigError for a context that is not set up, or whose roots are the TDP MMU's.
 * @throws OutOfMemoryError, or MemslotError ENOMEM
 */
export function kvmMmuLoad(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu): boolean {
  const context = vcpu.current(cpu);
  if (context.rootHpa(cpu) !== NULL_ADDRESS) return true;
  const kind = context.kind(cpu);
  if (kind === MmuKind.none)
    throw new ShadowMmuConfigError("kind of the context", kind, "one that is set up");
  const direct = roleDirect(context.rootRole(cpu));
  vcpu.topUpMemoryCaches(cpu, !direct);
  mmuAllocSpecialRoots(mmu, cpu, context);
  const allocRoots = direct ? mmuAllocDirectRoots : mmuAllocShadowRoots;
  if (!allocRoots(mmu, cpu, vcpu, context)) return false;
  kvmMmuSyncRoots(mmu, cpu, vcpu);
  return true;
}
