import { InvalidHvaError } from "../errors.js";

declare const hvaBrand: unique symbol;

/**
 * Host virtual address of the VM's owner process (kernel `hva_t`), in bytes. User addresses are integers in
 * [0, `TASK_SIZE_MAX`]; values from `KVM_HVA_ERR_BAD` on are error codes, which a JavaScript number holds
 * exactly because they are multiples of 4096.
 */
export type Hva = number & { readonly [hvaBrand]: "Hva" };

/** First address beyond user space with four-level host page tables (kernel `TASK_SIZE_MAX`): 2^47 - 4096. */
export const TASK_SIZE_MAX: Hva = (2 ** 47 - 4096) as Hva;

/**
 * "No slot, or an invalid slot" (kernel `KVM_HVA_ERR_BAD`, the value of `PAGE_OFFSET`): 0xffff888000000000.
 */
export const KVM_HVA_ERR_BAD: Hva = (0xffff8880 * 2 ** 32) as Hva;

/** "Write to a read-only slot" (kernel `KVM_HVA_ERR_RO_BAD`): `PAGE_OFFSET` + 4096. */
export const KVM_HVA_ERR_RO_BAD: Hva = (0xffff8880 * 2 ** 32 + 4096) as Hva;

/** Whether `hva` is an error code instead of an address (kernel `kvm_is_error_hva`). */
export function kvmIsErrorHva(hva: Hva): boolean {
  return hva >= KVM_HVA_ERR_BAD;
}

/**
 * Checks and brands a user address.
 * @param value an integer in [0, `TASK_SIZE_MAX`]
 * @throws InvalidHvaError for anything else
 */
export function toHva(value: number): Hva {
  if (!Number.isInteger(value) || value < 0 || value > TASK_SIZE_MAX) {
    throw new InvalidHvaError(value, TASK_SIZE_MAX);
  }
  return value as Hva;
}
