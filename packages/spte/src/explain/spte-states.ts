import type { Spte } from "../address/spte.js";
import { SHADOW_NONPRESENT_VALUE } from "../format/spte-constants.js";
import type { SpteFormat } from "../format/spte-format.js";
import { getMmioSpteGeneration } from "../mmio/get-mmio-spte-generation.js";
import { getMmioSpteGfn } from "../mmio/get-mmio-spte-gfn.js";
import { isAccessTrackSpte } from "../predicate/is-access-track-spte.js";
import { isAccessedSpte } from "../predicate/is-accessed-spte.js";
import { isDirtySpte } from "../predicate/is-dirty-spte.js";
import { isEptVePossible } from "../predicate/is-ept-ve-possible.js";
import { spteAdNeedWriteProtect } from "../predicate/spte-ad-enabled.js";
import { checkSpteWritableInvariants, isMmuWritableSpte, isWritablePte } from "../predicate/writability.js";
import { spteNeedsAtomicUpdate } from "../update/spte-needs-atomic-update.js";
import type { SpteKind } from "./spte-kind.js";

/** The writability states of a leaf that holds the invariants. */
function writabilityState(format: SpteFormat, spte: Spte): string {
  if (!checkSpteWritableInvariants(format, spte)) return "breaks the writability invariants";
  if (isWritablePte(spte)) return "writable";
  if (isMmuWritableSpte(format, spte)) {
    return isAccessTrackSpte(format, spte)
      ? "not writable while access-tracked (may be made writable without mmu_lock)"
      : "write-protected for dirty logging (may be made writable without mmu_lock)";
  }
  return (spte & format.shadowHostWritableMask) !== 0n
    ? "write-protected: the guest's permission is missing or the gfn holds a shadowed guest page table"
    : "read-only in the host";
}

function leafStates(format: SpteFormat, spte: Spte): string[] {
  const tracked = isAccessTrackSpte(format, spte);
  const states = [isAccessedSpte(format, spte) ? "young" : "aged"];
  if (tracked) states.push("access-tracked");
  states.push(writabilityState(format, spte));
  if (isWritablePte(spte) && !isDirtySpte(format, spte)) {
    states.push("clean while writable: the CPU may set D at any time");
  }
  if (spteAdNeedWriteProtect(format, spte)) states.push("dirty logging write-protects");
  if (spteNeedsAtomicUpdate(format, spte)) states.push("needs atomic update");
  return states;
}

function mmioStates(format: SpteFormat, spte: Spte): string[] {
  const gfn = getMmioSpteGfn(format, spte).toString(16);
  const generation = getMmioSpteGeneration(format, spte).toString(16);
  return [
    `no memslot for gfn 0x${gfn}`,
    `valid while the memslot generation is 0x${generation} modulo its width`,
  ];
}

function nonPresentStates(spte: Spte, kind: SpteKind): string[] {
  if (kind === "frozen") return ["one thread is replacing this entry; nobody else may touch it"];
  if (spte === 0n || spte === SHADOW_NONPRESENT_VALUE) return [];
  return ["not a value KVM writes"];
}

/** State words of an entry of the given kind, the most telling first. */
export function spteStates(format: SpteFormat, spte: Spte, kind: SpteKind): readonly string[] {
  if (kind === "pdpte") return [];
  const states = kind === "leaf" ? leafStates(format, spte) : [];
  if (kind === "mmio") states.push(...mmioStates(format, spte));
  if (kind === "frozen" || kind === "non-present") states.push(...nonPresentStates(spte, kind));
  if (isEptVePossible(format, spte)) states.push("could raise #VE in the guest: must never be stored");
  return states;
}
