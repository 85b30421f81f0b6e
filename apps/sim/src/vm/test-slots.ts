import type { Hva } from "@kvm-age/memslot";
import type { VmHandle } from "./vm.js";

/** The slot number of the first piece of test memory, as in the selftests. */
const FIRST_TEST_SLOT = 1;

/** One slot of a VM's test memory. Plain data. */
export interface TestSlot {
  readonly slot: number;
  /** Guest-physical address of the first byte. */
  readonly gpa: number;
  readonly hva: Hva;
  readonly pages: number;
}

/** The slots of the test memory, upwards: one, or several that map the same host memory. */
export function testSlots({ config, baseGfn, baseHva }: VmHandle): TestSlot[] {
  const pages = pagesPerTestSlot(config);
  return Array.from({ length: config.guestPages / pages }, (_, index) => ({
    slot: FIRST_TEST_SLOT + index,
    gpa: (baseGfn + index * pages) * 4096,
    hva: baseHva,
    pages,
  }));
}

/** 4 KiB pages of one slot, and of host memory behind the test memory. */
export function pagesPerTestSlot(config: VmHandle["config"]): number {
  return config.aliasedSlots?.pages ?? config.guestPages;
}
