import type { Address, Cpu } from "@kvm-age/machine";
import type { AccessKind } from "../access/access-kind.js";
import { ACCESS_EMULATE, ACCESS_FAILED } from "../access/access-result.js";
import { eptExitQualification, pferrOfEptViolation } from "../fault/ept-exit-qualification.js";
import { FAULT_ERRNO } from "../fault/fault-errno.js";
import { type LastFault, writeLastFault, writeLastFaultErrno } from "../fault/last-fault.js";
import { npfErrorCode } from "../fault/npf-error-code.js";
import { PFERR_RSVD_MASK } from "../fault/pferr.js";
import { addStatistic, STATISTIC_FAULTS } from "../statistics/statistic-words.js";
import { WALK_FAULT_PERMISSIONS, WALK_FAULT_RESERVED } from "../walk/walk-fault.js";
import type { VcpuHandle } from "./vcpu-handle.js";
import type { VcpuMmu } from "./vcpu-mmu.js";
import { lastFaultOf, statisticsOf } from "./vcpu-state.js";

/** Not an outcome: the guest runs again and repeats the access. */
export const FAULT_RETRY = 0;

type Report = Omit<LastFault, "errno">;

/** Turns what a walk found into the exit a processor reports, and hands it to the MMU. */
export class FaultDelivery {
  private readonly record: Address;
  private readonly statistics: Address;

  constructor(
    private readonly handle: VcpuHandle,
    private readonly mmu: VcpuMmu,
  ) {
    this.record = lastFaultOf(handle.state);
    this.statistics = statisticsOf(handle.state);
  }

  /**
   * Delivers one fault; the vCPU is outside the guest.
   *
   * @param flags of the walk's fault
   * @returns `FAULT_RETRY`, `ACCESS_EMULATE` or `ACCESS_FAILED`
   */
  deliver(cpu: Cpu, gpa: number, kind: AccessKind, flags: number): number {
    const report =
      this.handle.paging.pageFormat === "ept"
        ? this.eptReport(gpa, kind, flags)
        : npfReport(gpa, kind, flags);
    addStatistic(cpu, this.statistics, STATISTIC_FAULTS);
    writeLastFault(cpu, this.record, report);
    this.traceFault(cpu, report);
    const result = this.mmu.handlePageFault(cpu, gpa, report.errorCode);
    if (result === "retry") return FAULT_RETRY;
    if (result === "emulate") return ACCESS_EMULATE;
    writeLastFaultErrno(cpu, this.record, FAULT_ERRNO[result.errno]);
    return ACCESS_FAILED;
  }

  private eptReport(gpa: number, kind: AccessKind, flags: number): Report {
    if ((flags & WALK_FAULT_RESERVED) !== 0) {
      // The misconfiguration exit says nothing about the access; KVM hands it on as RSVD alone.
      return { kind: "misconfiguration", gpa, hardwareCode: 0n, errorCode: PFERR_RSVD_MASK };
    }
    const modeBased = this.handle.paging.modeBasedExecuteControl;
    const hardwareCode = eptExitQualification(kind, flags & WALK_FAULT_PERMISSIONS, modeBased);
    return {
      kind: "violation",
      gpa,
      hardwareCode,
      errorCode: pferrOfEptViolation(hardwareCode, kind, modeBased),
    };
  }

  /** `kvm_page_fault`, which KVM emits for EPT violations and all nested page faults. A guest here has no rip. */
  private traceFault(cpu: Cpu, report: Report): void {
    if (!cpu.tracing) return;
    if (report.kind === "misconfiguration" && this.handle.paging.pageFormat === "ept") return;
    cpu.trace({
      name: "kvm_page_fault",
      fields: {
        vcpu: this.handle.member,
        rip: 0n,
        address: BigInt(report.gpa),
        error_code: report.hardwareCode,
      },
    });
  }
}

function npfReport(gpa: number, kind: AccessKind, flags: number): Report {
  const errorCode = npfErrorCode(kind, flags);
  const reserved = (flags & WALK_FAULT_RESERVED) !== 0;
  return { kind: reserved ? "misconfiguration" : "violation", gpa, hardwareCode: errorCode, errorCode };
}
