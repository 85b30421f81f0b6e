import type { Cpu } from "@kvm-age/machine";
import { type Gfn, gfnRoundForLevel, kvmPagesPerHpage, type PgLevel } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";

/** `kvm_flush_remote_tlbs_gfn`: drops every cached translation of the page of `level` that `gfn` lies in. */
export function flushRemoteTlbsGfn(mmu: ShadowMmu, cpu: Cpu, gfn: Gfn, level: PgLevel): void {
  const startGfn = gfnRoundForLevel(gfn, level);
  cpu.flushRemoteTlbs(mmu.flushDomain, { startGfn, pages: kvmPagesPerHpage(level) });
}
