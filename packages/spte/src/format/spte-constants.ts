import type { Spte } from "../address/spte.js";

/** The only "is this a live entry" bit, in every layout (`SPTE_MMU_PRESENT_MASK`). */
export const SPTE_MMU_PRESENT_MASK: bigint = 1n << 11n;

/** Initial value of every slot of every table page on a 64-bit host (`SHADOW_NONPRESENT_VALUE`). */
export const SHADOW_NONPRESENT_VALUE: Spte = (1n << 63n) as Spte;

/** Bits by which the L1TF mitigation relocates gfn bits (`SHADOW_NONPRESENT_OR_RSVD_MASK_LEN`). */
export const SHADOW_NONPRESENT_OR_RSVD_MASK_LEN: bigint = 5n;

/** Physical address bits 51:12 of an entry. */
export const SPTE_ADDRESS_BITS: bigint = 0x000ffffffffff000n;
