import type { Spte } from "../address/spte.js";
import { PT_PRESENT_MASK } from "../format/hardware-bits.js";
import type { SpteFormat } from "../format/spte-format.js";
import { isExecutablePte } from "../predicate/is-executable-pte.js";
import { isWritablePte } from "../predicate/writability.js";
import {
  PFERR_FETCH_MASK,
  PFERR_USER_MASK,
  PFERR_WRITE_MASK,
  sptePermissionFault,
} from "./spte-permission-fault.js";

/** What an access wants; a plain supervisor read has all three false. */
export interface SpteAccess {
  readonly write: boolean;
  readonly exec: boolean;
  /** From user mode. NPT walks are always user accesses. */
  readonly user: boolean;
}

/** 6.15: the kind of access decides which one bit is looked at; user mode plays no part. */
function entryBitsAllow(format: SpteFormat, access: SpteAccess, spte: Spte): boolean {
  if (access.exec) return isExecutablePte(format, spte);
  if (access.write) return isWritablePte(spte);
  return BigInt.asUintN(64, spte & PT_PRESENT_MASK) !== 0n;
}

function errorCodeOf(access: SpteAccess): number {
  return (
    (access.write ? PFERR_WRITE_MASK : 0) |
    (access.user ? PFERR_USER_MASK : 0) |
    (access.exec ? PFERR_FETCH_MASK : 0)
  );
}

/**
 * Whether a present leaf already allows the access that faulted, i.e. the fault is stale: kernel
 * `is_access_allowed` (6.15) or the negation of `spte_permission_fault` (7.3), as the rule set says.
 */
export function isAccessAllowed(format: SpteFormat, access: SpteAccess, spte: Spte): boolean {
  if (format.rules.accessCheck === "entry-bits") return entryBitsAllow(format, access, spte);
  return !sptePermissionFault(format, format.permissions, spte, errorCodeOf(access));
}
