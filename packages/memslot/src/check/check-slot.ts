import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { PG_LEVEL_1G, PG_LEVEL_2M, PG_LEVEL_4K } from "@kvm-age/spte";
import { PAGE_SIZE } from "../address/page.js";
import type { Memslots } from "../memslots/memslots.js";
import { kvmMemslotsHaveRmaps, kvmWriteTrackingEnabled } from "../metadata/predicates.js";
import {
  kvmSlotDirtyTrackEnabled,
  type Slot,
  slotAsId,
  slotDirtyBitmap,
  slotGfnWriteTrackWord,
  slotId,
  slotIsInvalid,
  slotLpageInfoWord,
  slotNpages,
  slotRmapWord,
  slotUserspaceAddr,
} from "../slot/slot.js";

/** Checks one active slot by itself: fields, and that it has the arrays it must have. */
export function checkSlot(memslots: Memslots, cpu: Cpu, asId: number, slot: Slot): string[] {
  const missing = (word: Address): boolean => cpu.readOnce32(word) === NULL_ADDRESS;
  const hasBitmap = slotDirtyBitmap(cpu, slot) !== NULL_ADDRESS;
  const wantsRmaps = kvmMemslotsHaveRmaps(memslots, cpu);
  const rmapLevels = [PG_LEVEL_4K, PG_LEVEL_2M, PG_LEVEL_1G] as const;
  const violations: readonly (readonly [boolean, string])[] = [
    [slotIsInvalid(cpu, slot), "is INVALID although no update runs"],
    [slotAsId(cpu, slot) !== asId, `says it belongs to address space ${slotAsId(cpu, slot)}`],
    [slotNpages(cpu, slot) === 0, "has no pages"],
    [slotUserspaceAddr(cpu, slot) % PAGE_SIZE !== 0, "has an unaligned userspace_addr"],
    [kvmSlotDirtyTrackEnabled(cpu, slot) && !hasBitmap, "is logged but has no dirty bitmap"],
    [!kvmSlotDirtyTrackEnabled(cpu, slot) && hasBitmap, "has a dirty bitmap but is not logged"],
    [missing(slotLpageInfoWord(slot, PG_LEVEL_2M)), "has no disallow_lpage array for 2M"],
    [missing(slotLpageInfoWord(slot, PG_LEVEL_1G)), "has no disallow_lpage array for 1G"],
    [wantsRmaps && rmapLevels.some((level) => missing(slotRmapWord(slot, level))), "lacks an rmap array"],
    [
      kvmWriteTrackingEnabled(memslots, cpu) && missing(slotGfnWriteTrackWord(slot)),
      "has no write-tracking counters",
    ],
  ];
  return violations
    .filter(([violated]) => violated)
    .map(([, what]) => `as ${asId} slot ${slotId(cpu, slot)} ${what}`);
}
