import type { AccessTrackingResult, IdleCheck } from "../results/access-tracking-result.js";
import { formatTimespec } from "../terminal/format-timespec.js";

const DESCRIPTION_WIDTH = 30;
const TEST_MODE = "PA-bits:ANY, VA-bits:48,  4K pages";

function line(description: string, value: string): string {
  return `${description.padEnd(DESCRIPTION_WIDTH)}: ${value}`;
}

/** Whether so many pages stayed idle that the selftest objects: a tenth or more. */
export function hasTooManyIdle(check: IdleCheck): boolean {
  return check.pages > 0 && check.stillIdlePages >= check.pages / 10;
}

/** The selftest's words about too many idle pages. */
export function tooManyIdleText(check: IdleCheck): string {
  return `vCPU${check.vcpu}: Too many pages still idle (${check.stillIdlePages} out of ${check.pages})`;
}

/** The selftest's header: seed, guest mode and memory, an empty line. */
function headerLines(result: AccessTrackingResult): string[] {
  const { startGpa, endGpa } = result.guestTestMemory;
  return [
    `Random seed: 0x${result.seed.toString(16)}`,
    `Testing guest mode: ${TEST_MODE}`,
    `guest physical test memory: [0x${startGpa.toString(16)}, 0x${endGpa.toString(16)})`,
    "",
  ];
}

/** Phase lines, each after the warnings that came up in it. */
function phaseLines(result: AccessTrackingResult): string[] {
  const warns = result.options.tooManyIdle === "warn";
  return result.phases.flatMap((phase, index) => {
    const checks = result.idleChecks.filter((check) => check.phaseIndex === index && hasTooManyIdle(check));
    const warnings = checks.map(
      (check) => `WARNING: ${tooManyIdleText(check)}, this will affect performance results.`,
    );
    return [...(warns ? warnings : []), line(phase.name, formatTimespec(phase.seconds))];
  });
}

/** Lines of the benchmark of aging while the guest faults memory in (`-p`). */
function agingDuringFaultsLines(result: AccessTrackingResult): string[] {
  const aging = result.agingDuringFaults;
  if (aging === null) return [];
  const total = `(passes:${aging.passes}, total:${formatTimespec(aging.totalSeconds)})`;
  return [
    "Running lru_gen benchmark...",
    "Populating memory (async)".padEnd(DESCRIPTION_WIDTH),
    line("vcpu wall time", formatTimespec(aging.vcpuWallSeconds)),
    line("lru_gen avg pass duration", `${formatTimespec(aging.averagePassSeconds)}, ${total}`),
  ];
}

/**
 * The lines of `access_tracking_perf_test`: of Linux 6.12 to 6.15, and with aging during faults those of
 * version 8 of the series. Equal to the selftest's apart from the numbers.
 */
export function accessTrackingLines(result: AccessTrackingResult): string[] {
  const phases = result.options.agingDuringFaults ? agingDuringFaultsLines(result) : phaseLines(result);
  return [...headerLines(result), ...phases];
}
