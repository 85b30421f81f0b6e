/** What maps a scenario's memory. */
export const MMUS = ["tdp", "direct", "shadow", "tdp+nested"] as const;
export type Mmu = (typeof MMUS)[number];

/** What follows from it for the assembly of a VM. */
export interface MmuShape {
  /** Whether hardware walks two dimensions (`tdp_enabled`). */
  readonly tdp: boolean;
  /** Whether the TDP MMU maps guests that are not nested (`tdp_mmu_enabled`). */
  readonly tdpMmu: boolean;
  /** Whether there are shadow pages. */
  readonly shadowMmu: boolean;
  /** Page tables that the guest has in its memory: none, those of its own paging, or those it makes for a guest of its own. */
  readonly guestTables: "none" | "paging" | "nested";
}

/**
 * - `tdp`: the TDP MMU alone;
 * - `direct`: two-dimensional paging with `tdp_mmu=N`: direct shadow pages;
 * - `shadow`: no two-dimensional paging: the guest's own page tables are shadowed;
 * - `tdp+nested`: the TDP MMU for L1, and what L1 made for L2 is shadowed.
 */
export const MMU_SHAPES: Readonly<Record<Mmu, MmuShape>> = {
  tdp: { tdp: true, tdpMmu: true, shadowMmu: false, guestTables: "none" },
  direct: { tdp: true, tdpMmu: false, shadowMmu: true, guestTables: "none" },
  shadow: { tdp: false, tdpMmu: false, shadowMmu: true, guestTables: "paging" },
  "tdp+nested": { tdp: true, tdpMmu: true, shadowMmu: true, guestTables: "nested" },
};
