import type { TraceMmuMode } from "../identify/trace-identity.js";

/** What a guest wanted of a page. */
export type FaultAccess = "read" | "write" | "fetch";

const PFERR_WRITE = 1n << 1n;
const PFERR_FETCH = 1n << 4n;
const PFERR_GUEST_PAGE = 1n << 33n;
const EPT_WRITE = 1n << 1n;
const EPT_FETCH = 1n << 2n;
const EPT_GVA_IS_VALID = 1n << 7n;
const EPT_GVA_TRANSLATED = 1n << 8n;

function has(errorCode: bigint, bit: bigint): boolean {
  return BigInt.asUintN(64, errorCode & bit) !== 0n;
}

/**
 * The access that caused a `kvm_page_fault`: its error code is an EPT exit qualification (SDM volume 3, "Exit Qualification for EPT
 * Violations") or else a page-fault error code.
 */
export function faultAccess(mode: TraceMmuMode, errorCode: bigint): FaultAccess {
  const [fetch, write] = mode === "ept" ? [EPT_FETCH, EPT_WRITE] : [PFERR_FETCH, PFERR_WRITE];
  if (has(errorCode, fetch)) return "fetch";
  return has(errorCode, write) ? "write" : "read";
}

/** Whether the CPU met the fault while it walked the guest's page tables; never known with shadow paging. */
export function faultedInGuestWalk(mode: TraceMmuMode, errorCode: bigint): boolean {
  if (mode === "ept") return has(errorCode, EPT_GVA_IS_VALID) && !has(errorCode, EPT_GVA_TRANSLATED);
  return mode === "npt" && has(errorCode, PFERR_GUEST_PAGE);
}
