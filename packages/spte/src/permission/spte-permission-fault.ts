import type { Spte } from "../address/spte.js";
import { PT_PRESENT_MASK } from "../format/hardware-bits.js";
import type { SpteFormat } from "../format/spte-format.js";
import { isShadowPresentPte } from "../predicate/is-shadow-present-pte.js";
import { isWritablePte } from "../predicate/writability.js";
import type { PermissionTable } from "./update-permission-bitmask.js";

/** Page-fault error code: the translation was present. */
export const PFERR_PRESENT_MASK: number = 1;
/** Page-fault error code: write access. */
export const PFERR_WRITE_MASK: number = 2;
/** Page-fault error code: user-mode access. */
export const PFERR_USER_MASK: number = 4;
/** Page-fault error code: instruction fetch. */
export const PFERR_FETCH_MASK: number = 16;

/** Error-code bits that select a permission word. */
const SELECTING_BITS = PFERR_WRITE_MASK | PFERR_USER_MASK | PFERR_FETCH_MASK;

/** Collects the access bits an entry grants, in the rule set's numbering; reads the bits only. */
function spteAccess(format: SpteFormat, spte: Spte): number {
  const { accReadMask, accWriteMask, accUserMask, accExecMask } = format.rules;
  const userBits = BigInt.asUintN(64, format.shadowUserMask | format.shadowXuMask);
  const refused = BigInt.asUintN(64, spte & format.shadowNxMask) !== 0n;
  const granted = BigInt.asUintN(64, spte & format.shadowXsMask) !== 0n;
  const executable = format.shadowNxMask === 0n ? granted : !refused;
  return (
    (BigInt.asUintN(64, spte & PT_PRESENT_MASK) !== 0n ? accReadMask : 0) |
    (isWritablePte(spte) ? accWriteMask : 0) |
    (BigInt.asUintN(64, spte & userBits) !== 0n ? accUserMask : 0) |
    (executable ? accExecMask : 0)
  );
}

/**
 * Whether the access described by a page-fault error code is forbidden by the entry (7.3
 * `spte_permission_fault`). True for an entry that is not shadow-present.
 * @param permissions the MMU's permission words, normally `format.permissions`
 * @param errorCode error code, in [0, 2^53); only write, user and fetch are looked at
 */
export function sptePermissionFault(
  format: SpteFormat,
  permissions: PermissionTable,
  spte: Spte,
  errorCode: number,
): boolean {
  if (!isShadowPresentPte(spte)) return true;
  const word = permissions[(errorCode & SELECTING_BITS) >> 1]!;
  return ((word >> spteAccess(format, spte)) & 1) !== 0;
}
