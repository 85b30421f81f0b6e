import { type EventTexts, hex } from "./event-text.js";

/** The TDP MMU, and splits. */
export const tdpMmuText: EventTexts<"kvm_tdp_mmu_spte_changed" | "kvm_mmu_split_huge_page"> = {
  kvm_tdp_mmu_spte_changed: {
    read: (scanner) => ({
      as_id: scanner.decimalAfter("as id "),
      gfn: scanner.hexAfter(" gfn "),
      level: scanner.decimalAfter(" level "),
      old_spte: scanner.hex64After(" old_spte "),
      new_spte: scanner.hex64After(" new_spte "),
    }),
    write: ({ as_id, gfn, level, old_spte, new_spte }) =>
      `as id ${as_id} gfn ${hex(gfn)} level ${level} old_spte ${hex(old_spte)} new_spte ${hex(new_spte)}`,
  },
  kvm_mmu_split_huge_page: {
    read: (scanner) => {
      const gfn = scanner.hexAfter("gfn ");
      const spte = scanner.hex64After(" spte ");
      const level = scanner.decimalAfter(" level ");
      scanner.literal(" errno ");
      return { gfn, spte, level, errno: scanner.signedDecimal() };
    },
    write: ({ gfn, spte, level, errno }) => `gfn ${hex(gfn)} spte ${hex(spte)} level ${level} errno ${errno}`,
  },
};
