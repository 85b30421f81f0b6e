import { type EventTexts, paddedHex } from "./event-text.js";

/** `%#016lx`: 16 columns together with the prefix. */
const hva = (value: number): string => `0x${paddedHex(value, 14)}`;

/** Entry points of the MMU notifier. */
export const notifierText: EventTexts<"kvm_age_hva" | "kvm_test_age_hva" | "kvm_unmap_hva_range"> = {
  kvm_age_hva: {
    read: (scanner) => ({
      start: scanner.prefixedHexAfter("mmu notifier age hva: "),
      end: scanner.prefixedHexAfter(" -- "),
    }),
    write: ({ start, end }) => `mmu notifier age hva: ${hva(start)} -- ${hva(end)}`,
  },
  kvm_test_age_hva: {
    read: (scanner) => ({ hva: scanner.prefixedHexAfter("mmu notifier test age hva: ") }),
    write: (fields) => `mmu notifier test age hva: ${hva(fields.hva)}`,
  },
  kvm_unmap_hva_range: {
    read: (scanner) => ({
      start: scanner.prefixedHexAfter("mmu notifier unmap range: "),
      end: scanner.prefixedHexAfter(" -- "),
    }),
    write: ({ start, end }) => `mmu notifier unmap range: ${hva(start)} -- ${hva(end)}`,
  },
};
