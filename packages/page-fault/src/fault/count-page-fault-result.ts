import type { Cpu } from "@kvm-age/machine";
import type { MmuStatisticName, MmuStatistics } from "../mmu/mmu-statistics.js";
import { RetPf } from "./ret-pf.js";

const STATISTIC_OF_RESULT: Readonly<Partial<Record<RetPf, MmuStatisticName>>> = {
  [RetPf.fixed]: "pf_fixed",
  [RetPf.spurious]: "pf_spurious",
  [RetPf.emulate]: "pf_emulate",
  [RetPf.retry]: "pf_retry",
};

/** The statistics at the end of `kvm_mmu_page_fault`: how a fault came out. Other results are not counted. */
export function countPageFaultResult(statistics: MmuStatistics, cpu: Cpu, result: RetPf): void {
  const name = STATISTIC_OF_RESULT[result];
  if (name !== undefined) cpu.fetchAdd32(statistics.word(name), 1, "relaxed");
}
