import type { SpteFormat } from "../format/spte-format.js";
import { flagField, type SpteField } from "./spte-field.js";

/** Fields of a PAE page-directory-pointer entry, from bit 63 down. */
export function pdpteFields(format: SpteFormat): readonly SpteField[] {
  return [
    {
      name: "pfn",
      mask: format.spteBaseAddrMask,
      meaning: (value) => `page directory at host-physical address 0x${(value << 12n).toString(16)}`,
    },
    flagField("A", 0x20n, "set as the array hangs below a long-mode root", "clear"),
    flagField("U", 4n, "set as the array hangs below a long-mode root", "clear"),
    flagField("W", 2n, "set as the array hangs below a long-mode root", "clear"),
    flagField("P", 1n, "present", "not present"),
  ];
}
