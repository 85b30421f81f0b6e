import type { KvmMmuPageRole } from "@kvm-age/spte";

// Bits of the role word that are in the same place in every rule set.
const DIRECT = 1 << 7;
const PASSTHROUGH = 1 << 18;

/** `passthrough`: a fifth level above a guest of four, which no guest table is behind. */
export function rolePassthrough(role: KvmMmuPageRole): boolean {
  return (role & PASSTHROUGH) !== 0;
}

/** The role with `direct` set or clear and `passthrough` clear: that of a child. */
export function withRoleDirect(role: KvmMmuPageRole, direct: boolean): KvmMmuPageRole {
  return (((role & ~(DIRECT | PASSTHROUGH)) | (direct ? DIRECT : 0)) >>> 0) as KvmMmuPageRole;
}
