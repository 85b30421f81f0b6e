import { NX, P, PS, U, W } from "./guest-tables.js";

/** Paging mode of a guest, as far as the manual's walk depends on it. */
export interface ReferenceMode {
  readonly levels: 3 | 4 | 5;
  readonly root: number;
  readonly wp: boolean;
  readonly nx: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  readonly maxPhyAddr: number;
}

export interface ReferenceAccess {
  readonly write: boolean;
  readonly user: boolean;
  readonly fetch: boolean;
}

export type ReferenceResult =
  | { readonly errorCode: number }
  | { readonly frame: number; readonly level: number; readonly path: readonly number[] };

/**
 * The walk of Intel SDM vol. 3, 4.4 and 4.5 written down once more, slowly and apart from the code under test: bit by bit, without
 * tables of masks.
 *
 * @param read the entry at a guest-physical address, null where there is no memory; a PDPTE is the one that was loaded
 */
export function referenceWalk(
  read: (gpa: number, isPdpte: boolean) => bigint | null,
  mode: ReferenceMode,
  addr: number,
  access: ReferenceAccess,
): ReferenceResult {
  const code = (present: boolean, reserved: boolean): ReferenceResult => ({
    errorCode:
      (present || reserved ? 1 : 0) +
      (access.write ? 2 : 0) +
      (access.user ? 4 : 0) +
      (reserved ? 8 : 0) +
      (access.fetch && (mode.nx || mode.smep) ? 16 : 0),
  });
  let table = mode.root;
  let mayWrite = true;
  let mayUser = true;
  let mayExec = true;
  const path: number[] = [];
  for (let level: number = mode.levels; level >= 1; level--) {
    const isPdpte = mode.levels === 3 && level === 3;
    const index = Math.floor(addr / (4096 * 512 ** (level - 1))) % (isPdpte ? 4 : 512);
    const gpa = table * 4096 + index * 8;
    const entry = read(gpa, isPdpte);
    if (entry === null || (entry & P) === 0n) return code(false, false);
    path.push(gpa);
    table = Number((entry >> 12n) & 0xff_ffff_ffffn);
    if (isPdpte) continue;
    const large = (entry & PS) !== 0n && level > 1;
    if (isReserved(entry, level, large, mode)) return code(true, true);
    mayWrite &&= (entry & W) !== 0n;
    mayUser &&= (entry & U) !== 0n;
    mayExec &&= (entry & NX) === 0n;
    if (level > 1 && !large) continue;
    if (!isAllowed(mode, access, mayWrite, mayUser, mayExec)) return code(true, false);
    const pages = 512 ** (level - 1);
    return { frame: table - (table % pages) + (Math.floor(addr / 4096) % pages), level, path };
  }
  throw new Error("a walk ends at level 1 at the latest");
}

function isReserved(entry: bigint, level: number, large: boolean, mode: ReferenceMode): boolean {
  const bit = (n: number) => ((entry >> BigInt(n)) & 1n) === 1n;
  const any = (low: number, high: number) => {
    for (let n = low; n <= high; n++) if (bit(n)) return true;
    return false;
  };
  if (any(mode.maxPhyAddr, 51)) return true;
  if (mode.levels === 3 && any(52, 62)) return true;
  if (bit(63) && !mode.nx) return true;
  if (level >= 4 && bit(7)) return true;
  return large && any(13, 12 + 9 * (level - 1) - 1);
}

function isAllowed(
  mode: ReferenceMode,
  access: ReferenceAccess,
  mayWrite: boolean,
  mayUser: boolean,
  mayExec: boolean,
): boolean {
  if (access.fetch && mode.nx && !mayExec) return false;
  if (access.user) return mayUser && (!access.write || mayWrite);
  if (access.fetch) return !(mode.smep && mayUser);
  if (mode.smap && mayUser) return false;
  return !access.write || mayWrite || !mode.wp;
}
