import type { Address, Cpu } from "@kvm-age/machine";
import { ACCESS_EMULATE, ACCESS_FAILED, ACCESS_GUEST_PAGE_FAULT } from "../access/access-result.js";
import { NothingToInjectError } from "../errors.js";
import { eptExitQualification, pferrOfEptViolation } from "../fault/ept-exit-qualification.js";
import { FAULT_ERRNO } from "../fault/fault-errno.js";
import { type FaultKind, type LastFault, writeLastFault, writeLastFaultErrno } from "../fault/last-fault.js";
import { takeQueuedGuestFault } from "../fault/last-guest-fault.js";
import { npfErrorCode } from "../fault/npf-error-code.js";
import { pageFaultErrorCode } from "../fault/page-fault-error-code.js";
import { PFERR_RSVD_MASK } from "../fault/pferr.js";
import {
  addStatistic,
  STATISTIC_FAULTS,
  STATISTIC_GUEST_PAGE_FAULTS,
} from "../statistics/statistic-words.js";
import { WALK_FAULT_RESERVED } from "../walk/walk-fault.js";
import type { VcpuHandle } from "./vcpu-handle.js";
import type { PageFaultResult, VcpuMmu } from "./vcpu-mmu.js";
import { lastFaultOf, lastGuestFaultOf, statisticsOf } from "./vcpu-state.js";

/** Not an outcome: the guest runs again and repeats the access. */
export const FAULT_RETRY = 0;

type Report = Omit<LastFault, "errno">;

/** Turns what a walk found into the exit a processor reports, and hands it to the MMU. */
export class FaultDelivery {
  private readonly record: Address;
  private readonly guestRecord: Address;
  private readonly statistics: Address;

  constructor(
    private readonly handle: VcpuHandle,
    private readonly mmu: VcpuMmu,
  ) {
    this.record = lastFaultOf(handle.state);
    this.guestRecord = lastGuestFaultOf(handle.state);
    this.statistics = statisticsOf(handle.state);
  }

  /**
   * Delivers one fault; the vCPU is outside the guest.
   *
   * @param address that the MMU's tables refused
   * @param access what was asked of them, in `PERMISSION_…` bits
   * @param flags of the walk's fault
   * @returns `FAULT_RETRY`, `ACCESS_EMULATE`, `ACCESS_FAILED` or `ACCESS_GUEST_PAGE_FAULT`
   */
  deliver(cpu: Cpu, address: number, access: number, flags: number): number {
    const report = this.report(address, access, flags);
    addStatistic(cpu, this.statistics, STATISTIC_FAULTS);
    writeLastFault(cpu, this.record, report);
    this.traceFault(cpu, report);
    return this.outcome(cpu, this.mmu.handlePageFault(cpu, address, report.errorCode));
  }

  private outcome(cpu: Cpu, result: PageFaultResult): number {
    if (result === "retry") return FAULT_RETRY;
    if (result === "emulate") return ACCESS_EMULATE;
    if (result === "inject") {
      if (!takeQueuedGuestFault(cpu, this.guestRecord)) throw new NothingToInjectError(this.handle.member);
      addStatistic(cpu, this.statistics, STATISTIC_GUEST_PAGE_FAULTS);
      return ACCESS_GUEST_PAGE_FAULT;
    }
    writeLastFaultErrno(cpu, this.record, FAULT_ERRNO[result.errno]);
    return ACCESS_FAILED;
  }

  private report(address: number, access: number, flags: number): Report {
    const { pageFormat } = this.handle.paging;
    if (pageFormat === "ept") return this.eptReport(address, access, flags);
    const errorCode =
      pageFormat === "npt" ? npfErrorCode(access, flags) : BigInt(pageFaultErrorCode(access, flags, true));
    return { kind: kindOf(flags), gpa: address, hardwareCode: errorCode, errorCode };
  }

  private eptReport(gpa: number, access: number, flags: number): Report {
    const kind = kindOf(flags);
    // The misconfiguration exit says nothing about the access; KVM hands it on as RSVD alone.
    if (kind === "misconfiguration") return { kind, gpa, hardwareCode: 0n, errorCode: PFERR_RSVD_MASK };
    const { modeBasedExecuteControl: modeBased, eptReadReportsUser } = this.handle.paging;
    const hardwareCode = eptExitQualification(access, flags, modeBased);
    const errorCode = pferrOfEptViolation(hardwareCode, access, modeBased, eptReadReportsUser);
    return { kind, gpa, hardwareCode, errorCode };
  }

  /**
   * `kvm_page_fault`, which KVM emits for EPT violations, nested page faults and page faults that it intercepts. A guest here
   * has no rip.
   */
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

function kindOf(flags: number): FaultKind {
  return (flags & WALK_FAULT_RESERVED) === 0 ? "violation" : "misconfiguration";
}
