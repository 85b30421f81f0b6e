import type { KvmEventFields, KvmMmuPageFields } from "../schema/kvm-event-fields.js";
import type { KvmEvent, TraceRecord } from "../schema/trace-record.js";
import { type Clue, Clues } from "./clues.js";

/** Before 7.3 the text of the events is the same in all kernels covered. */
type Generation = "6.12 or 6.15" | "7.3";

const FROZEN_BEFORE_7_3 = 0x80000000000005a0n;
const FROZEN_7_3 = 0x80000000000001a0n;
/** Largest access value that three permissions make. */
const LARGEST_THREE_BIT_ACCESS = 7;

const ACCESS_FIELD: Clue<Generation> = {
  answer: "7.3",
  seen: "kvm_mmu_spte_requested has the field access",
};
const NO_ACCESS_FIELD: Clue<Generation> = {
  answer: "6.12 or 6.15",
  seen: "kvm_mmu_spte_requested has no field access",
};
const FOUR_PERMISSIONS: Clue<Generation> = {
  answer: "7.3",
  seen: "the access of page-table pages has four letters (rwux)",
};
const THREE_PERMISSIONS: Clue<Generation> = {
  answer: "6.12 or 6.15",
  seen: "the access of page-table pages has three letters (wux)",
};
const NEW_FROZEN: Clue<Generation> = { answer: "7.3", seen: "frozen SPTEs are 80000000000001a0" };
const OLD_FROZEN: Clue<Generation> = { answer: "6.12 or 6.15", seen: "frozen SPTEs are 80000000000005a0" };
const OLD_EPT_BITS: Clue<Generation> = {
  answer: "6.12 or 6.15",
  seen: "EPT SPTEs have MMU-writable in bit 58",
};
const NEW_EPT_BITS: Clue<Generation> = { answer: "7.3", seen: "EPT SPTEs have MMU-writable in bit 55" };

/** Writable EPT leaves, and those only, have MMU-writable: bit 58 before 7.3, then bit 55. */
const EPT_WRITABLE_LEAF_MASK = 0x8000000000000812n;
const MMU_WRITABLE_BEFORE_7_3 = 1n << 58n;
const MMU_WRITABLE_7_3 = 1n << 55n;

function requestedClue({ access }: KvmEventFields["kvm_mmu_spte_requested"]): Clue<Generation> {
  return access === null ? NO_ACCESS_FIELD : ACCESS_FIELD;
}

/** Direct pages carry all permissions, or all but user: with three letters at most 7, with four at least 11. */
function pageClue({ access, direct }: KvmMmuPageFields): Clue<Generation> | null {
  if (access > LARGEST_THREE_BIT_ACCESS) return FOUR_PERMISSIONS;
  return direct ? THREE_PERMISSIONS : null;
}

function spteClue(spte: bigint): Clue<Generation> | null {
  if (spte === FROZEN_7_3) return NEW_FROZEN;
  if (spte === FROZEN_BEFORE_7_3) return OLD_FROZEN;
  if (BigInt.asUintN(64, spte & EPT_WRITABLE_LEAF_MASK) !== EPT_WRITABLE_LEAF_MASK) return null;
  if (BigInt.asUintN(64, spte & MMU_WRITABLE_7_3) !== 0n) return NEW_EPT_BITS;
  return BigInt.asUintN(64, spte & MMU_WRITABLE_BEFORE_7_3) !== 0n ? OLD_EPT_BITS : null;
}

function clueOf(event: KvmEvent): Clue<Generation> | null {
  switch (event.name) {
    case "kvm_mmu_spte_requested":
      return requestedClue(event.fields);
    case "kvm_mmu_get_page":
    case "kvm_mmu_prepare_zap_page":
      return pageClue(event.fields);
    case "kvm_tdp_mmu_spte_changed":
      return spteClue(event.fields.new_spte);
    case "kvm_mmu_set_spte":
      return spteClue(event.fields.spte);
    default:
      return null;
  }
}

/** Gathers what a trace says about the generation of its kernel. */
export class KernelClues {
  readonly #clues = new Clues<Generation>();

  observe(record: TraceRecord): void {
    const clue = record.kind === "kvm" ? clueOf(record) : null;
    if (clue !== null) this.#clues.add(clue);
  }

  get generation(): Generation | null {
    return this.#clues.answer;
  }

  get evidence(): readonly string[] {
    return this.#clues.sentences((answer) => `kernel ${answer}`);
  }
}
