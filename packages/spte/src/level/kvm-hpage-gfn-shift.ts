import type { PgLevel } from "./pg-level.js";

/** log2 of the 4 KiB pages under one entry of the level: 0, 9, 18, 27, 36 (kernel `KVM_HPAGE_GFN_SHIFT`). */
export function kvmHpageGfnShift(level: PgLevel): number {
  return (level - 1) * 9;
}
