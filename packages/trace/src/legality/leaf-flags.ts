import {
  type Gfn,
  isAccessTrackSpte,
  isLargePte,
  isMmuWritableSpte,
  isWritablePte,
  makeSpte,
  markSpteForAccessTrack,
  type Pfn,
  type PgLevel,
  restoreAccTrackSpte,
  type Spte,
  type SpteFormat,
  spteAdEnabled,
} from "@kvm-age/spte";

const W = 0x2n;
const PAGE_SIZE_BIT = 0x80n;
/** Memory types that KVM gives out under EPT: uncached, write-back, write-back with the guest's PAT ignored. */
const MEMORY_TYPES: readonly bigint[] = [0x00n, 0x30n, 0x70n];
const BOTH: readonly boolean[] = [false, true];

/** Everything of an entry but its address. */
export function flagsOf(format: SpteFormat, spte: Spte): bigint {
  return BigInt.asUintN(64, spte & ~format.spteBaseAddrMask);
}

/** Who asks for a leaf. */
export interface LeafRequest {
  readonly level: number;
  /** Access bits of the rule set; null if any that this MMU gives is possible. */
  readonly access: number | null;
  /** Speculative leaves are born not accessed; null if it may be either. */
  readonly prefetch: boolean | null;
}

/** Which leaves an MMU has: `direct` ones map a guest's physical memory with all access, `shadowing` ones follow the guest's tables. */
export type LeafOrigin = "direct" | "shadowing";

interface AdRole {
  readonly adDisabled: boolean;
  readonly guestMode: boolean;
}

function adRoles(format: SpteFormat, origin: LeafOrigin): readonly AdRole[] {
  const own: AdRole = { adDisabled: !format.kvmAdEnabled, guestMode: false };
  if (origin === "direct" || format.mode !== "ept") return [own];
  return [own, { adDisabled: true, guestMode: true }, { adDisabled: false, guestMode: true }];
}

function accesses(format: SpteFormat, origin: LeafOrigin, access: number | null): readonly number[] {
  if (access !== null) return [access];
  const { accAll, accUserMask, role } = format.rules;
  // Kernels that know guest-mode execute traps take the user bit away from the whole tree when they use them.
  const trapped = format.mode === "npt" && role.cr4Smep !== null;
  if (origin === "direct") return trapped ? [accAll, accAll & ~accUserMask] : [accAll];
  return Array.from({ length: format.rules.accAll }, (_, index) => index + 1);
}

/** One old value that was not writable, and one that was: kernels differ in what that does to Dirty. */
const OLD_VALUES = [0n as Spte, 0x803n as Spte] as const;

function addMade(
  format: SpteFormat,
  request: LeafRequest,
  access: number,
  role: AdRole,
  into: Set<bigint>,
): void {
  const prefetches = request.prefetch === null ? BOTH : [request.prefetch];
  const huge = request.level > 1;
  for (const prefetch of prefetches)
    for (const hostWritable of BOTH)
      for (const refused of BOTH)
        for (const memoryType of format.shadowMemtypeMask === 0n ? [0n] : MEMORY_TYPES)
          for (const nxHugePageMitigation of huge ? BOTH : [false])
            for (const oldSpte of OLD_VALUES) {
              const { spte } = makeSpte(format, {
                ...role,
                ...{ level: request.level as PgLevel, cpuDirtyLog: true, pteAccess: access },
                ...{ gfn: 0 as Gfn, pfn: 0 as Pfn, oldSpte, prefetch, synchronizing: false, hostWritable },
                ...{ slotDirtyLogging: false, nxHugePageMitigation, isMmioPfn: false, memoryType },
                tryToUnsyncPages: refused ? () => 1 : null,
              });
              into.add(flagsOf(format, spte));
            }
}

/** The successors of a leaf's flags: aging, dirty logging, write protection, fast faults and the CPU itself. */
function successors(format: SpteFormat, flags: Spte): readonly bigint[] {
  const next: bigint[] = [
    flags & ~W,
    flags & ~(W | format.shadowMmuWritableMask),
    markSpteForAccessTrack(format, flags),
  ];
  if (spteAdEnabled(format, flags)) {
    next.push(flags & ~format.shadowDirtyMask, flags | format.shadowAccessedMask);
    if (isWritablePte(flags)) next.push(flags | format.shadowDirtyMask);
  }
  const restored = isAccessTrackSpte(format, flags)
    ? BigInt.asUintN(64, restoreAccTrackSpte(format, flags) | format.shadowAccessedMask)
    : flags;
  next.push(restored);
  if (isMmuWritableSpte(format, flags)) next.push(restored | W);
  return next;
}

/** The flags that leaves can have, computed once for each kind of question. */
export class LeafFlags {
  readonly #format: SpteFormat;
  readonly #origin: LeafOrigin;
  readonly #made = new Map<string, ReadonlySet<bigint>>();
  #evolved: ReadonlySet<bigint> | null = null;

  constructor(format: SpteFormat, origin: LeafOrigin) {
    this.#format = format;
    this.#origin = origin;
  }

  /** Flags of the leaves that `make_spte` makes for the request. */
  made(request: LeafRequest): ReadonlySet<bigint> {
    const key = `${request.level > 1} ${request.access} ${request.prefetch}`;
    let flags = this.#made.get(key);
    if (flags === undefined) {
      const fresh = new Set<bigint>();
      for (const access of accesses(this.#format, this.#origin, request.access))
        for (const role of adRoles(this.#format, this.#origin))
          addMade(this.#format, request, access, role, fresh);
      this.#made.set(key, fresh);
      flags = fresh;
    }
    return flags;
  }

  /** Whether some history of kernel operations leads to a leaf like this. */
  isPossible(spte: Spte, level: number): boolean {
    this.#evolved ??= this.#closure();
    if (level > 1 !== isLargePte(spte)) return false;
    return this.#evolved.has(flagsOf(this.#format, spte));
  }

  #closure(): ReadonlySet<bigint> {
    const any = { access: null, prefetch: null };
    const seen = new Set<bigint>([...this.made({ ...any, level: 1 }), ...this.made({ ...any, level: 2 })]);
    // Splitting drops the page-size bit, recovering sets it.
    for (const flags of [...seen]) seen.add(BigInt.asUintN(64, flags ^ PAGE_SIZE_BIT));
    for (const flags of seen) {
      for (const next of successors(this.#format, flags as Spte)) seen.add(BigInt.asUintN(64, next));
    }
    return seen;
  }
}
