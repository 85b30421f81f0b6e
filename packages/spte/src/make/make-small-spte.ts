import type { Spte } from "../address/spte.js";
import { InvalidSpteIndexError, NotHugeSpteError } from "../errors.js";
import { PT_PAGE_SIZE_MASK } from "../format/hardware-bits.js";
import type { SpteFormat } from "../format/spte-format.js";
import { kvmHpageGfnShift } from "../level/kvm-hpage-gfn-shift.js";
import { PG_LEVEL_4K } from "../level/pg-level.js";
import { isLargePte } from "../predicate/is-last-spte.js";
import { isShadowPresentPte } from "../predicate/is-shadow-present-pte.js";
import type { KvmMmuPageRole } from "../role/kvm-mmu-page-role.js";
import { roleAccess, roleLevel } from "../role/role-fields.js";
import { changeSpteExecutable } from "./change-spte-executable.js";

/** Execution after a split to 4 KiB: the mitigation no longer applies, the role's access does. */
function grantExecution(format: SpteFormat, spte: Spte, access: number): Spte {
  if (format.rules.splitExecute === "recompute-from-role") return changeSpteExecutable(format, spte, access);
  return (access & format.rules.accExecMask) !== 0 ? changeSpteExecutable(format, spte, access) : spte;
}

/**
 * Entry number `index` of the table that replaces a huge leaf (`make_small_spte`). A, D, W, saved permissions
 * and A/D type are inherited.
 * @param role role of the new table; its level and access count
 * @param index 0 to 511
 * @param nxHugePageMitigation whether the NX-huge-page mitigation is on for the VM
 * @throws NotHugeSpteError when `hugeSpte` is not a present huge leaf
 * @throws InvalidSpteIndexError when `index` is not an integer in [0, 511]
 */
export function makeSmallSpte(
  format: SpteFormat,
  hugeSpte: Spte,
  role: KvmMmuPageRole,
  index: number,
  nxHugePageMitigation: boolean,
): Spte {
  if (!isShadowPresentPte(hugeSpte) || !isLargePte(hugeSpte)) throw new NotHugeSpteError(hugeSpte);
  if (!Number.isInteger(index) || index < 0 || index > 511) throw new InvalidSpteIndexError(index);
  const level = roleLevel(role);
  const offset = BigInt(index) << BigInt(12 + kvmHpageGfnShift(level));
  const child = BigInt.asUintN(64, hugeSpte | offset) as Spte;
  if (level !== PG_LEVEL_4K) return child;
  const small = BigInt.asUintN(64, child & ~PT_PAGE_SIZE_MASK) as Spte;
  return nxHugePageMitigation ? grantExecution(format, small, roleAccess(format.rules, role)) : small;
}
