import { type KvmMmuPageRole, roleDirect } from "@kvm-age/spte";
import { rolePassthrough } from "./shadow-role.js";

/** `sp_has_gptes`: whether a page of this role shadows a table of the guest, which must be write-protected or unsync. */
export function spHasGptes(role: KvmMmuPageRole): boolean {
  return !roleDirect(role) && !rolePassthrough(role);
}
