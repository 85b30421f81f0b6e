import type { Address, Cpu } from "@kvm-age/machine";
import {
  checkSpteWritableInvariants,
  isAccessedSpte,
  isAccessTrackSpte,
  isExecutablePte,
  isWritablePte,
  kvmPagesPerHpage,
  restoreAccTrackSpte,
  roleAdDisabled,
  roleLevel,
  type Spte,
  type SpteFormat,
  spteAdEnabled,
  spteToPfn,
} from "@kvm-age/spte";
import { type KvmMmuPage, spRole, sptepIndex } from "../page/kvm-mmu-page.js";
import { kvmMmuPageGetAccess } from "../page/translation.js";
import type { ShadowMmu } from "../shadow-mmu.js";

function has(spte: Spte, mask: bigint): boolean {
  return BigInt.asUintN(64, spte & mask) !== 0n;
}

/** Access bits of the rule set that the leaf gives, tracked or not, and that do not come with every leaf. */
function accessOf(format: SpteFormat, spte: Spte): number {
  const { accWriteMask, accUserMask, accExecMask } = format.rules;
  const visible = isAccessTrackSpte(format, spte) ? restoreAccTrackSpte(format, spte) : spte;
  const write = isWritablePte(visible) ? accWriteMask : 0;
  const exec = isExecutablePte(format, visible) ? accExecMask : 0;
  const userBits = BigInt.asUintN(
    64,
    (format.shadowUserMask | format.shadowXuMask) & ~format.shadowPresentMask,
  );
  const user = has(visible, userBits) ? accUserMask : 0;
  return write | exec | user;
}

function checkAccessTracking(format: SpteFormat, at: string, spte: Spte): string[] {
  if (!isAccessTrackSpte(format, spte)) return [];
  return isAccessedSpte(format, spte) ? [`${at}: access-tracked, yet accessed`] : [];
}

/**
 * Checks what can be seen of one present leaf and its table: writability bits, A/D type, alignment, access tracking, and
 * that it gives no access that its recorded translation does not.
 *
 * @param at how to name the leaf
 * @returns one sentence for each violation
 */
export function checkShadowLeaf(
  mmu: ShadowMmu,
  cpu: Cpu,
  sp: KvmMmuPage,
  sptep: Address,
  spte: Spte,
  at: string,
): string[] {
  const { format } = mmu;
  const role = spRole(cpu, sp);
  const violations = checkAccessTracking(format, at, spte);
  if (!checkSpteWritableInvariants(format, spte)) violations.push(`${at}: W, MMU-writable, Host-writable`);
  if (spteAdEnabled(format, spte) === roleAdDisabled(role)) {
    violations.push(`${at}: A/D type is not the table's`);
  }
  if (spteToPfn(format, spte) % kvmPagesPerHpage(roleLevel(role)) !== 0) {
    violations.push(`${at}: pfn not aligned`);
  }
  const recorded = kvmMmuPageGetAccess(mmu, cpu, sp, sptepIndex(sptep));
  const given = accessOf(format, spte);
  if ((given & ~recorded) !== 0) {
    violations.push(`${at}: gives access ${hex(given)}, recorded is ${hex(recorded)}`);
  }
  return violations;
}

const hex = (value: number): string => `0x${value.toString(16)}`;
