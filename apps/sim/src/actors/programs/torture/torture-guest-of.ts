import { MMU_SHAPES } from "../../../vm/mmu-shape.js";
import { NestedGuest } from "./nested-guest.js";
import { PagingGuest } from "./paging-guest.js";
import type { TortureGuest } from "./torture-guest.js";
import type { TortureProcessor } from "./torture-processor.js";
import { UnpagedGuest } from "./unpaged-guest.js";

/** The guest that suits what maps a VM. */
export function tortureGuestOf(processor: TortureProcessor): TortureGuest {
  switch (MMU_SHAPES[processor.vm.config.mmu].guestTables) {
    case "none":
      return new UnpagedGuest(processor);
    case "paging":
      return new PagingGuest(processor);
    case "nested":
      return new NestedGuest(processor);
  }
}
