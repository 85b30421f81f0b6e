import type { PgLevel } from "@kvm-age/spte";

/** The level that an event names; null if no page table has it, as only a damaged trace says. */
export function entryLevel(level: number): PgLevel | null {
  return level >= 1 && level <= 5 ? (level as PgLevel) : null;
}
