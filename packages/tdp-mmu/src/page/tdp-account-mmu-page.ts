import type { Cpu } from "@kvm-age/machine";
import type { TdpMmu } from "../tdp-mmu.js";

/** `tdp_account_mmu_page`: a table was linked. */
export function tdpAccountMmuPage(mmu: TdpMmu, cpu: Cpu): void {
  cpu.fetchAdd32(mmu.pagesWord, 1, "relaxed");
}

/** `tdp_unaccount_mmu_page`: a table was unlinked. */
export function tdpUnaccountMmuPage(mmu: TdpMmu, cpu: Cpu): void {
  cpu.fetchAdd32(mmu.pagesWord, -1, "relaxed");
}
