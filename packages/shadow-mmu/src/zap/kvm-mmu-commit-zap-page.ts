import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { roleInvalid } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import { unhashSp } from "../hash/page-hash.js";
import {
  type KvmMmuPage,
  rootCountWord,
  shadowedTranslationWord,
  spRole,
  spSpt,
} from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { InvalidList } from "./invalid-list.js";

/** `kvm_mmu_free_shadow_page`: nothing leads to the page any more, and nobody is on the way through it. */
function kvmMmuFreeShadowPage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  const rootCount = cpu.readOnce32(rootCountWord(sp));
  if (rootCount !== 0 || !roleInvalid(mmu.format.rules, spRole(cpu, sp))) {
    throw new ShadowPageCorruptionError("freed while in use", { sp, role: spRole(cpu, sp), rootCount });
  }
  unhashSp(cpu, sp);
  mmu.frames.freeFrame(cpu, spSpt(cpu, sp));
  const translation = cpu.readOnce32(shadowedTranslationWord(sp)) as Address;
  if (translation !== NULL_ADDRESS) mmu.frames.freeFrame(cpu, translation);
  mmu.headers.free(cpu, sp);
}

/**
 * `kvm_mmu_commit_zap_page`: frees the pages of the list and empties it. The flush before makes every processor leave the
 * tables: hardware drops what it cached of them, and a lockless walk, which began before they were unlinked, is waited for.
 * Nothing happens for an empty list. Held: `mmu_lock` for write.
 */
export function kvmMmuCommitZapPage(mmu: ShadowMmu, cpu: Cpu, list: InvalidList): void {
  if (list.isEmpty) return;
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  cpu.flushRemoteTlbs(mmu.flushDomain, null);
  for (const sp of list.pages) kvmMmuFreeShadowPage(mmu, cpu, sp);
  list.pages.length = 0;
}
