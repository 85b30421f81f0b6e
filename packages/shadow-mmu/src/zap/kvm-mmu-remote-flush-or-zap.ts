import type { Cpu } from "@kvm-age/machine";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { InvalidList } from "./invalid-list.js";
import { kvmMmuCommitZapPage } from "./kvm-mmu-commit-zap-page.js";

/**
 * `kvm_mmu_remote_flush_or_zap`: commits the list, whose flush covers everything before it, or without pages flushes if
 * asked to. Held: `mmu_lock` for write.
 *
 * @returns whether there was a flush
 */
export function kvmMmuRemoteFlushOrZap(mmu: ShadowMmu, cpu: Cpu, list: InvalidList, flush: boolean): boolean {
  if (!list.isEmpty) kvmMmuCommitZapPage(mmu, cpu, list);
  else if (flush) cpu.flushRemoteTlbs(mmu.flushDomain, null);
  else return false;
  return true;
}
