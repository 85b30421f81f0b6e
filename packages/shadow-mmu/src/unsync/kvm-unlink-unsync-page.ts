import type { Cpu } from "@kvm-age/machine";
import { type KvmMmuPage, unsyncWord } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { traceKvmMmuSyncPage } from "../trace/trace-kvm-mmu-page.js";

/**
 * `kvm_unlink_unsync_page`: the page is in step with the guest again, or about to go. The bits of its ancestors are the
 * caller's, or are found stale by the next walk. Held: `mmu_lock` for write.
 */
export function kvmUnlinkUnsyncPage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  if (cpu.tracing) traceKvmMmuSyncPage(mmu, cpu, sp);
  cpu.writeOnce32(unsyncWord(sp), 0);
  cpu.fetchAdd32(mmu.statistics.word("mmu_unsync"), -1, "relaxed");
}
