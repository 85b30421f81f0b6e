import type { Cpu } from "@kvm-age/machine";
import { roleDirect } from "@kvm-age/spte";
import { vcpuClearMmioInfo } from "../fault/mmio-cache.js";
import { NO_PAGE, spRole, writeFloodingCountWord } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { KvmMmu } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { fastPgdSwitch } from "./fast-pgd-switch.js";
import { rootSp } from "./root-sp.js";

/**
 * `kvm_mmu_new_pgd`: the guest root of a context is `newPgd` from now on. A remembered root for it becomes current;
 * otherwise the context has none, and the next entry loads one. A remembered root may be unsync, or zapped with a request
 * that tells so: the caller synchronises and flushes as the guest's instruction demands. Held: SRCU, not `mmu_lock`.
 *
 * @param newPgd CR3, nCR3 or EPTP in bytes with its flag bits: an integer in [0, 2^53)
 * @returns whether a remembered root was found
 */
export function kvmMmuNewPgd(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  newPgd: number,
): boolean {
  cpu.writeOnce(context.guestPgdWord, BigInt(newPgd));
  if (!fastPgdSwitch(mmu, cpu, vcpu, context, BigInt(newPgd))) return false;
  // The same address may mean another page under another root.
  vcpuClearMmioInfo(cpu, vcpu, null);
  const sp = rootSp(mmu, cpu, context);
  if (sp !== NO_PAGE && !roleDirect(spRole(cpu, sp))) cpu.writeOnce32(writeFloodingCountWord(sp), 0);
  return true;
}
