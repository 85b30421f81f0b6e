import { errorCodeText, readErrorCode } from "../error-code-names.js";
import type { PayloadScanner } from "../payload-scanner.js";
import { type EventTexts, hex } from "./event-text.js";

/**
 * An error code as a number and, behind it, in names. The names say the same, and are not kept. Without a name the line ends with a blank,
 * which text loses that went through a mail.
 */
function readNumberAndNames(scanner: PayloadScanner): number {
  const pferr = scanner.hexAfter("pferr ");
  if (scanner.position === scanner.end) return pferr;
  scanner.literal(" ");
  readErrorCode(scanner);
  return pferr;
}

/** Walks of guest page tables. */
export const walkText: EventTexts<
  | "kvm_mmu_pagetable_walk"
  | "kvm_mmu_paging_element"
  | "kvm_mmu_set_accessed_bit"
  | "kvm_mmu_set_dirty_bit"
  | "kvm_mmu_walker_error"
> = {
  kvm_mmu_pagetable_walk: {
    read: (scanner) => {
      const addr = scanner.hex64After("addr ");
      scanner.literal(" ");
      return { addr, pferr: readNumberAndNames(scanner) };
    },
    write: ({ addr, pferr }, kernel) =>
      `addr ${hex(addr)} pferr ${hex(pferr)} ${errorCodeText(BigInt(pferr), kernel)}`,
  },
  kvm_mmu_paging_element: {
    read: (scanner) => ({ pte: scanner.hex64After("pte "), level: scanner.decimalAfter(" level ") }),
    write: ({ pte, level }) => `pte ${hex(pte)} level ${level}`,
  },
  kvm_mmu_set_accessed_bit: {
    read: (scanner) => ({ gpa: scanner.hexAfter("gpa ") }),
    write: ({ gpa }) => `gpa ${hex(gpa)}`,
  },
  kvm_mmu_set_dirty_bit: {
    read: (scanner) => ({ gpa: scanner.hexAfter("gpa ") }),
    write: ({ gpa }) => `gpa ${hex(gpa)}`,
  },
  kvm_mmu_walker_error: {
    read: (scanner) => ({ pferr: readNumberAndNames(scanner) }),
    write: ({ pferr }, kernel) => `pferr ${hex(pferr)} ${errorCodeText(BigInt(pferr), kernel)}`,
  },
};
