/** What L1 chose for its EPT. */
export interface ReferenceEptMode {
  readonly levels: 4 | 5;
  /** Frame of the root table. */
  readonly root: number;
  readonly executeOnly: boolean;
  readonly modeBased: boolean;
  readonly maxPhyAddr: number;
}

export type ReferenceEptAccess = "read" | "write" | "fetch" | "user-fetch";

export type ReferenceEptResult =
  | "misconfiguration"
  /** Bits 2:0 and 6:3 of the exit qualification. */
  | { readonly qualification: number }
  | { readonly frame: number; readonly path: readonly number[] };

const R = 1;
const W = 2;
const X = 4;
const USER_X = 8;

/** Permissions of an entry as bits R, W, X, user-X. */
function permissionsOf(entry: bigint): number {
  return Number(entry & 7n) | (((entry >> 10n) & 1n) === 1n ? USER_X : 0);
}

/**
 * The walk of Intel SDM vol. 3, 30.3.2 and 30.3.3 written down once more, apart from the code under test.
 *
 * @param read the entry at a guest-physical address, null where there is no memory: KVM reports that as an entry that is not present
 */
export function referenceEptWalk(
  read: (gpa: number) => bigint | null,
  mode: ReferenceEptMode,
  addr: number,
  access: ReferenceEptAccess,
): ReferenceEptResult {
  const accessBits = { read: 1, write: 2, fetch: 4, "user-fetch": 4 }[access];
  const violation = (permissions: number): ReferenceEptResult => {
    const reported = mode.modeBased ? permissions : permissions & ~USER_X;
    return { qualification: accessBits | (reported << 3) };
  };
  let table = mode.root;
  let permissions = R | W | X | USER_X;
  const path: number[] = [];
  for (let level: number = mode.levels; level >= 1; level--) {
    const gpa = table * 4096 + (Math.floor(addr / (4096 * 512 ** (level - 1))) % 512) * 8;
    const entry = read(gpa);
    if (entry === null) return violation(permissions);
    const own = permissionsOf(entry);
    permissions &= own;
    if ((own & (mode.modeBased ? R | W | X | USER_X : R | W | X)) === 0) return violation(permissions);
    path.push(gpa);
    const leaf = level === 1 || (entry & 0x80n) !== 0n;
    if (isMisconfigured(entry, own, level, leaf, mode)) return "misconfiguration";
    table = Number((entry >> 12n) & 0xff_ffff_ffffn);
    if (!leaf) continue;
    const needed = { read: R, write: W, fetch: X, "user-fetch": mode.modeBased ? USER_X : X }[access];
    if ((permissions & needed) === 0) return violation(permissions);
    const pages = 512 ** (level - 1);
    return { frame: table - (table % pages) + (Math.floor(addr / 4096) % pages), path };
  }
  throw new Error("a walk ends at level 1 at the latest");
}

function isMisconfigured(
  entry: bigint,
  own: number,
  level: number,
  leaf: boolean,
  mode: ReferenceEptMode,
): boolean {
  const field = (low: number, high: number) => (entry >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);
  if ((own & W) !== 0 && (own & R) === 0) return true;
  if ((own & R) === 0 && !mode.executeOnly) return true;
  if (field(mode.maxPhyAddr, 51) !== 0n) return true;
  if (!leaf) return field(3, 6) !== 0n || (level >= 4 && field(7, 7) !== 0n);
  if (level >= 4) return true;
  if ([2n, 3n, 7n].includes(field(3, 5))) return true;
  return level > 1 && field(12, 12 + 9 * (level - 1) - 1) !== 0n;
}
