import { checkHostMmInvariants } from "@kvm-age/host-mm";
import type { Cpu } from "@kvm-age/machine";
import { checkMemslotInvariants, MEMSLOT_WARNINGS, mmuInvalidateInProgress } from "@kvm-age/memslot";
import { checkShadowPageInvariants, checkShadowSpteInvariants } from "@kvm-age/shadow-mmu";
import { checkTdpMmuInvariants } from "@kvm-age/tdp-mmu";
import type { Vm } from "../vm/vm.js";
import { cachedStrayTranslations } from "./cached-stray-translations.js";
import type { ComplianceReport } from "./compliance-report.js";
import { GuestMemoryMap } from "./guest-memory-map.js";
import type { InvariantId } from "./invariant.js";
import { strayLeaves } from "./stray-leaves.js";
import { unwalkableTranslations } from "./unwalkable-translations.js";
import { writableGuestTables } from "./writable-guest-tables.js";

/** How a VM is to be checked. */
export interface ComplianceOptions {
  /** Every vCPU has flushed its guest's TLB and done nothing since, so that its tables say what its guest's say. @default false */
  readonly guestsFlushed?: boolean;
}

/** One part of the kit: what it enforces, and a finder of sentences about what is wrong. */
interface RestCheck {
  readonly invariants: readonly InvariantId[];
  readonly find: (vm: Vm, cpu: Cpu, memory: GuestMemoryMap) => string[];
}

const REST_CHECKS: readonly RestCheck[] = [
  {
    invariants: ["shadow-9", "shadow-10"],
    find: ({ tdp }, cpu) => (tdp === null ? [] : checkTdpMmuInvariants(tdp, cpu)),
  },
  {
    invariants: [
      "rmap-6",
      "shadow-1",
      "shadow-2",
      "shadow-4",
      "shadow-5",
      "shadow-6",
      "shadow-10",
      "shadow-11",
    ],
    find: ({ shadow }, cpu) => (shadow === null ? [] : checkShadowPageInvariants(shadow, cpu)),
  },
  {
    invariants: ["rmap-1", "rmap-4", "rmap-5", "rmap-10", "shadow-3", "shadow-7", "shadow-14"],
    find: ({ shadow }, cpu) => (shadow === null ? [] : checkShadowSpteInvariants(shadow, cpu)),
  },
  { invariants: ["locking-12"], find: ({ memslots }, cpu) => checkMemslotInvariants(memslots, cpu) },
  { invariants: ["locking-4"], find: openInvalidations },
  { invariants: ["locking-4"], find: warnings },
  { invariants: ["shadow-8", "locking-5", "locking-6"], find: strayLeaves },
  { invariants: ["shadow-13", "locking-6", "locking-8"], find: cachedStrayTranslations },
  { invariants: ["shadow-3", "locking-8"], find: writableGuestTables },
  // What the host itself must keep to, without which nothing above means much.
  { invariants: [], find: ({ hostMm }, cpu) => checkHostMmInvariants(hostMm, cpu) },
];

const AFTER_FLUSH: readonly RestCheck[] = [{ invariants: ["shadow-15"], find: unwalkableTranslations }];

function openInvalidations({ memslots }: Vm, cpu: Cpu): string[] {
  const open = mmuInvalidateInProgress(memslots, cpu);
  return open === 0 ? [] : [`mmu_invalidate_in_progress is ${open} although nobody runs`];
}

/** Conditions on which the kernel warns and goes on: nothing here may cause them. */
function warnings({ memslots }: Vm, cpu: Cpu): string[] {
  return MEMSLOT_WARNINGS.map((warning) => ({ warning, count: memslots.warningCount(cpu, warning) }))
    .filter(({ count }) => count > 0)
    .map(({ warning, count }) => `${count} times warned: ${warning}`);
}

/**
 * Checks everything that must hold of a VM at rest: nobody else may be running, every vCPU is outside the guest, and no operation is under way.
 * The packages' own checkers, and what only the whole VM shows: that every translation leads to what the host has mapped, that every
 * cached translation does or will be flushed, that shadowed guest tables are protected in both MMUs. The same for whichever
 * MMUs and policies the VM has.
 */
export function checkCompliance(vm: Vm, cpu: Cpu, options: ComplianceOptions = {}): ComplianceReport {
  const checks = options.guestsFlushed === true ? [...REST_CHECKS, ...AFTER_FLUSH] : REST_CHECKS;
  const memory = new GuestMemoryMap(vm, cpu);
  return {
    checked: [...new Set(checks.flatMap(({ invariants }) => invariants))],
    violations: checks.flatMap(({ invariants, find }) =>
      find(vm, cpu, memory).map((found) => ({ invariants, found })),
    ),
  };
}
