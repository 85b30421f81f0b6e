/** `KVM_INVALID_ROOTS`: roots whose role is marked invalid. */
export const KVM_INVALID_ROOTS = 1;
/** `KVM_DIRECT_ROOTS`: ordinary roots. Mirror roots (TDX) do not exist in this model. */
export const KVM_DIRECT_ROOTS = 2;
/** `KVM_VALID_ROOTS`: every kind of root that is not invalid. */
export const KVM_VALID_ROOTS: number = KVM_DIRECT_ROOTS;
/** `KVM_ALL_ROOTS`. */
export const KVM_ALL_ROOTS: number = KVM_VALID_ROOTS | KVM_INVALID_ROOTS;

/** Address-space argument that matches both address spaces. */
export const ANY_AS_ID = -1;
