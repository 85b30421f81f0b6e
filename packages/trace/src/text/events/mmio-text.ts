import { bitText, type EventTexts, hex, paddedHex } from "./event-text.js";

/** MMIO SPTEs. */
export const mmioText: EventTexts<"mark_mmio_spte" | "check_mmio_spte" | "handle_mmio_page_fault"> = {
  mark_mmio_spte: {
    read: (scanner) => ({
      sptep: scanner.pointerAfter("sptep:"),
      gfn: scanner.hexAfter(" gfn "),
      access: scanner.hexAfter(" access "),
      gen: scanner.hexAfter(" gen "),
    }),
    write: ({ sptep, gfn, access, gen }) =>
      `sptep:${paddedHex(sptep, 16)} gfn ${hex(gfn)} access ${hex(access)} gen ${hex(gen)}`,
  },
  check_mmio_spte: {
    read: (scanner) => ({
      spte: scanner.hex64After("spte "),
      kvm_gen: scanner.hexAfter(" kvm_gen "),
      spte_gen: scanner.hexAfter(" spte-gen "),
      valid: scanner.bitAfter(" valid "),
    }),
    write: ({ spte, kvm_gen, spte_gen, valid }) =>
      `spte ${hex(spte)} kvm_gen ${hex(kvm_gen)} spte-gen ${hex(spte_gen)} valid ${bitText(valid)}`,
  },
  handle_mmio_page_fault: {
    read: (scanner) => ({
      addr: scanner.hex64After("addr:"),
      gfn: scanner.hexAfter(" gfn "),
      access: scanner.hexAfter(" access "),
    }),
    write: ({ addr, gfn, access }) => `addr:${hex(addr)} gfn ${hex(gfn)} access ${hex(access)}`,
  },
};
