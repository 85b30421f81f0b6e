import { type Address, offset } from "@kvm-age/machine";

/** Entries of a three-level root, each for one GiB. */
export const PAE_ROOT_ENTRIES = 4;

/** u64 `pae_root[index]`, `index` in [0, 3]: a PDPTE, or 0 (`INVALID_PAE_ROOT`). */
export function paeRootEntryWord(paeRoot: Address, index: number): Address {
  return offset(paeRoot, index * 8);
}
